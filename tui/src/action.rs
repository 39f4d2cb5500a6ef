//! What console and command line can have the agent do.

use agent_api::client::{AgentClient, RequestError};
use agent_api::control::Request;
use agent_api::local::ResetScope;

/// Something that changes the node or what a person sees of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Switches the locate LED of a disk's slot.
    Locate {
        /// The disk's lasting name.
        disk: String,
        /// What a person calls it.
        called: String,
        /// Whether it is to be lit.
        on: bool,
    },
    /// Empties a disk, takes it out of the pool and destroys its key.
    Retire {
        /// Its volume.
        volume: String,
        /// What a person calls it.
        called: String,
    },
    /// Keeps a disk that is being emptied.
    Keep {
        /// Its volume.
        volume: String,
        /// What a person calls it.
        called: String,
    },
    /// Sets the network up by other settings until they are confirmed or their time is over.
    TryNetwork {
        /// The settings.
        text: String,
    },
    /// Keeps the settings that are tried.
    ConfirmNetwork,
    /// Takes the settings back that are tried.
    RevertNetwork,
    /// Sets the network up by node.toml again.
    ResetNetwork,
    /// Claims a disk that is not blank; what is on it is erased.
    ClaimDisk {
        /// The disk's lasting name.
        disk: String,
        /// What a person calls it.
        called: String,
        /// The end of its serial number, as somebody typed it.
        serial_end: String,
    },
    /// Takes a claim by hand back, or forgets one that failed.
    UndoClaim {
        /// The disk's lasting name.
        disk: String,
        /// What a person calls it.
        called: String,
    },
    /// Has the console ask for no PIN.
    ClearPin,
    /// Says that the first steps are done.
    FinishSetUp,
    /// Makes the node new.
    FactoryReset {
        /// What goes too.
        scope: ResetScope,
        /// The end of the node's id, as somebody typed it.
        node_end: String,
    },
    /// Restarts the machine.
    Reboot,
    /// Powers the machine off.
    PowerOff,
}

impl Action {
    /// Has it done.
    ///
    /// # Errors
    /// The agent does not answer, or refuses.
    pub(crate) fn carry_out(&self, agent: &mut AgentClient) -> Result<(), RequestError> {
        match self {
            Self::Locate { disk, on, .. } => agent.locate(disk, *on),
            Self::Retire { volume, .. } => {
                agent.change_pool(Request::RetireVolume { volume: volume.clone() })
            }
            Self::Keep { volume, .. } => {
                agent.change_pool(Request::CancelRetire { volume: volume.clone() })
            }
            Self::TryNetwork { text } => {
                agent.change_network(Request::TryNetwork { text: text.clone() })
            }
            Self::ConfirmNetwork => agent.change_network(Request::ConfirmNetwork),
            Self::RevertNetwork => agent.change_network(Request::RevertNetwork),
            Self::ResetNetwork => agent.change_network(Request::ResetNetwork),
            Self::ClaimDisk { disk, serial_end, .. } => agent
                .decide(Request::ClaimDisk { disk: disk.clone(), serial_end: serial_end.clone() }),
            Self::UndoClaim { disk, .. } => agent.decide(Request::UndoClaim { disk: disk.clone() }),
            Self::ClearPin => agent.decide(Request::SetPin { pin: None }),
            Self::FinishSetUp => agent.decide(Request::FinishSetUp),
            Self::FactoryReset { scope, node_end } => {
                agent.decide(Request::FactoryReset { scope: *scope, node_end: node_end.clone() })
            }
            Self::Reboot => agent.reboot(),
            Self::PowerOff => agent.power_off(),
        }
    }

    /// What it is, as a heading.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Locate { called, on: true, .. } => format!("Light the locate LED of {called}"),
            Self::Locate { called, .. } => format!("Put out the locate LED of {called}"),
            Self::Retire { called, .. } => format!("Retire {called}"),
            Self::Keep { called, .. } => format!("Keep {called}"),
            Self::TryNetwork { .. } => "Try other settings of the network".to_owned(),
            Self::ConfirmNetwork => "Keep the settings of the network that are tried".to_owned(),
            Self::RevertNetwork => "Take the settings of the network back".to_owned(),
            Self::ResetNetwork => "Set the network up by node.toml again".to_owned(),
            Self::ClaimDisk { called, .. } => format!("Erase and claim {called}"),
            Self::UndoClaim { called, .. } => format!("Take the claim of {called} back"),
            Self::ClearPin => "Ask for no PIN on the console".to_owned(),
            Self::FinishSetUp => "Finish the first steps".to_owned(),
            Self::FactoryReset { scope: ResetScope::KeepIdentity, .. } => {
                "Make the node new, with its identity".to_owned()
            }
            Self::FactoryReset { .. } => "Make the node new and forget its identity".to_owned(),
            Self::Reboot => "Restart the node".to_owned(),
            Self::PowerOff => "Power the node off".to_owned(),
        }
    }

    /// What came of it, once the agent has accepted it.
    pub(crate) fn done(&self) -> String {
        match self {
            Self::Locate { called, on: true, .. } => format!("the locate LED of {called} is lit"),
            Self::Locate { called, .. } => format!("the locate LED of {called} is out"),
            Self::Retire { called, .. } => format!("{called} is being emptied"),
            Self::Keep { called, .. } => format!("{called} stays in use"),
            Self::TryNetwork { .. } => {
                "the network is set up so for 120 s: confirm it within them".to_owned()
            }
            Self::ConfirmNetwork => "these settings of the network stay".to_owned(),
            Self::RevertNetwork => "the network is set up as before".to_owned(),
            Self::ResetNetwork => "the network is set up by node.toml again".to_owned(),
            Self::ClaimDisk { called, .. } => {
                format!("{called} is erased and claimed in 60 s unless that is taken back")
            }
            Self::UndoClaim { called, .. } => format!("{called} is not claimed"),
            Self::ClearPin => "the console asks for no PIN".to_owned(),
            Self::FinishSetUp => "the first steps are done".to_owned(),
            Self::FactoryReset { .. } => {
                "the node restarts and is made new: all objects are destroyed".to_owned()
            }
            Self::Reboot => "the node restarts".to_owned(),
            Self::PowerOff => "the node powers off".to_owned(),
        }
    }
}
