//! The five screens and the sections of each. Pure.

/// A screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    /// How the node does and why.
    Status,
    /// Ports, addresses, servers.
    Network,
    /// Every disk, and what can be done with it.
    Disks,
    /// Who the node is to others.
    Identity,
    /// Log and hardware; restart and power-off.
    Logs,
}

impl Screen {
    /// Every screen, from left to right.
    pub(crate) const ALL: [Self; 5] =
        [Self::Status, Self::Network, Self::Disks, Self::Identity, Self::Logs];

    /// The screen of a number key or function key, from 1.
    pub(crate) fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Status => "Status",
            Self::Network => "Network",
            Self::Disks => "Disks",
            Self::Identity => "Identity",
            Self::Logs => "Logs",
        }
    }

    /// The screen to the right of it, in a circle.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Status => Self::Network,
            Self::Network => Self::Disks,
            Self::Disks => Self::Identity,
            Self::Identity => Self::Logs,
            Self::Logs => Self::Status,
        }
    }

    /// The screen to the left of it, in a circle.
    pub(crate) fn previous(self) -> Self {
        match self {
            Self::Status => Self::Logs,
            Self::Network => Self::Status,
            Self::Disks => Self::Network,
            Self::Identity => Self::Disks,
            Self::Logs => Self::Identity,
        }
    }

    /// Its sections, from top to bottom.
    pub(crate) fn sections(self) -> &'static [Section] {
        match self {
            Self::Status => &[Section::Problems, Section::Node],
            Self::Network => &[Section::Ports, Section::Servers],
            Self::Disks => &[Section::Disks, Section::Disk],
            Self::Identity => &[Section::Identity],
            Self::Logs => &[Section::Log, Section::Hardware],
        }
    }

    /// The section that arrow keys move where none has the focus.
    pub(crate) fn main_section(self) -> Section {
        match self {
            Self::Status => Section::Node,
            Self::Network => Section::Ports,
            Self::Disks => Section::Disks,
            Self::Identity => Section::Identity,
            Self::Logs => Section::Log,
        }
    }
}

/// A part of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    /// What deserves attention; absent when nothing does.
    Problems,
    /// State, earnings, S3, ports, oracles, services.
    Node,
    /// The network ports.
    Ports,
    /// Gateways, name servers, time servers.
    Servers,
    /// The list of disks.
    Disks,
    /// The selected disk.
    Disk,
    /// Node id, daemon address and its QR code.
    Identity,
    /// The log.
    Log,
    /// The components of the machine.
    Hardware,
}

impl Section {
    /// Rows below which a section is of no use, where it wants so many and all share so many.
    pub(crate) fn least_rows(self, wanted: usize, height: usize) -> usize {
        match self {
            Self::Problems => wanted.min(4),
            Self::Node => wanted.min(7),
            Self::Ports => wanted.min(height / 2),
            Self::Servers => wanted.min(4),
            Self::Disks => wanted.min(height / 3),
            Self::Disk => wanted.min(height * 2 / 5),
            Self::Identity => wanted,
            Self::Log => height / 2,
            Self::Hardware => wanted.min(height / 4),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_and_previous_go_round_all_screens() {
        let mut screen = Screen::Status;
        for (number, expected) in (1..).zip(Screen::ALL) {
            assert_eq!((screen, Screen::of_number(number)), (expected, Some(expected)));
            assert_eq!(screen.next().previous(), screen);
            screen = screen.next();
        }
        assert_eq!(screen, Screen::Status);
        assert_eq!((Screen::of_number(0), Screen::of_number(6)), (None, None));
    }

    #[test]
    fn each_screen_s_main_section_is_on_it() {
        for screen in Screen::ALL {
            assert!(screen.sections().contains(&screen.main_section()));
        }
    }
}
