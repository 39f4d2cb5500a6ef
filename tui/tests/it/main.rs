//! The programs against an agent that is played: on a terminal, on a pipe, as commands.

#[cfg(test)]
mod commands;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod serial;
