//! What console and command line can have the agent do.

use agent_api::client::{AgentClient, RequestError};
use agent_api::control::{Request, Secret};
use agent_api::local::ResetScope;
use agent_api::support::{Inventory, SupportWritten};
use agent_api::words;

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
    /// Asks a machine for echoes.
    Ping {
        /// Its name or address.
        host: String,
    },
    /// Looks a name up.
    LookUp {
        /// The name.
        name: String,
    },
    /// Compares the clock with the time servers.
    ClockTest,
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
    /// Sets the PIN of the console.
    SetPin {
        /// The digits.
        pin: Secret,
    },
    /// Has the console ask for no PIN.
    ClearPin,
    /// Says that the first steps are done.
    FinishSetUp,
    /// Asks for the words from which the daemon key can be made again.
    RecoveryWords,
    /// Makes the node new.
    FactoryReset {
        /// What goes too.
        scope: ResetScope,
        /// The end of the node's id, as it was typed.
        node_end: String,
    },
    /// Asks for what the node is made of.
    Inventory,
    /// Writes a support bundle to the stick that is labelled for it.
    WriteSupport,
    /// Restarts the machine.
    Reboot,
    /// Powers the machine off.
    PowerOff,
}

/// What comes of an action beside that it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Came {
    /// Nothing.
    Done,
    /// This is to be read.
    Text(String),
    /// The recovery words.
    Words(Secret),
    /// What the node is made of.
    Inventory(Box<Inventory>),
    /// Where the support bundle is.
    Support(SupportWritten),
}

impl Action {
    /// Has it done.
    ///
    /// # Errors
    /// The agent does not answer, or refuses.
    pub(crate) fn carry_out(&self, agent: &mut AgentClient) -> Result<Came, RequestError> {
        match self {
            Self::Ping { host } => Ok(Came::Text(words::network::ping(&agent.ping(host)?))),
            Self::LookUp { name } => Ok(Came::Text(words::network::look_up(&agent.look_up(name)?))),
            Self::ClockTest => Ok(Came::Text(words::network::clock(&agent.test_clock()?))),
            Self::RecoveryWords => Ok(Came::Words(agent.recovery_words()?)),
            Self::Inventory => Ok(Came::Inventory(Box::new(agent.inventory()?))),
            Self::WriteSupport => Ok(Came::Support(agent.write_support()?)),
            change => change.change(agent).map(|()| Came::Done),
        }
    }

    fn change(&self, agent: &mut AgentClient) -> Result<(), RequestError> {
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
            Self::ClaimDisk { disk, serial_end, .. } => {
                let (disk, serial_end) = (disk.clone(), serial_end.clone());
                agent.decide(Request::ClaimDisk { disk, serial_end })
            }
            Self::UndoClaim { disk, .. } => agent.decide(Request::UndoClaim { disk: disk.clone() }),
            Self::SetPin { pin } => agent.decide(Request::SetPin { pin: Some(pin.clone()) }),
            Self::ClearPin => agent.decide(Request::SetPin { pin: None }),
            Self::FinishSetUp => agent.decide(Request::FinishSetUp),
            Self::FactoryReset { scope, node_end } => {
                let (scope, node_end) = (*scope, node_end.clone());
                agent.decide(Request::FactoryReset { scope, node_end })
            }
            Self::Reboot => agent.reboot(),
            Self::PowerOff => agent.power_off(),
            // These change nothing and were asked for above.
            Self::Ping { .. }
            | Self::LookUp { .. }
            | Self::ClockTest
            | Self::RecoveryWords
            | Self::Inventory
            | Self::WriteSupport => Ok(()),
        }
    }

    /// Whether it may take the node so long that others should not wait for it.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(
            self,
            Self::Ping { .. }
                | Self::LookUp { .. }
                | Self::ClockTest
                | Self::Inventory
                | Self::WriteSupport
        )
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
            Self::Ping { host } => format!("Echoes of {host}"),
            Self::LookUp { name } => format!("Addresses of {name}"),
            Self::ClockTest => "The clock and the time servers".to_owned(),
            Self::ClaimDisk { called, .. } => format!("Erase and claim {called}"),
            Self::UndoClaim { called, .. } => format!("Take the claim of {called} back"),
            Self::SetPin { .. } => "Set the PIN".to_owned(),
            Self::ClearPin => "Ask for no PIN on the console".to_owned(),
            Self::FinishSetUp => "Finish the first steps".to_owned(),
            Self::RecoveryWords => "Show the recovery words".to_owned(),
            Self::FactoryReset { scope: ResetScope::KeepIdentity, .. } => {
                "Make the node new, with its identity".to_owned()
            }
            Self::FactoryReset { .. } => "Make the node new and forget its identity".to_owned(),
            Self::Inventory => "What the node is made of".to_owned(),
            Self::WriteSupport => "Write a support bundle".to_owned(),
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
            Self::Ping { .. }
            | Self::LookUp { .. }
            | Self::ClockTest
            | Self::RecoveryWords
            | Self::Inventory => "the node has answered".to_owned(),
            Self::ClaimDisk { called, .. } => {
                format!("{called} is erased and claimed in 60 s unless that is taken back")
            }
            Self::UndoClaim { called, .. } => format!("{called} is not claimed"),
            Self::SetPin { .. } => "changes on the console ask for this PIN".to_owned(),
            Self::ClearPin => "the console asks for no PIN".to_owned(),
            Self::FinishSetUp => "the first steps are done".to_owned(),
            Self::FactoryReset { .. } => {
                "the node restarts and is made new: all objects are destroyed".to_owned()
            }
            Self::WriteSupport => "the support bundle is written".to_owned(),
            Self::Reboot => "the node restarts".to_owned(),
            Self::PowerOff => "the node powers off".to_owned(),
        }
    }
}
