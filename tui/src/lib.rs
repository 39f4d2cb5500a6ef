//! The console of a node on a terminal, and its twin on the command line. Both are clients of the
//! agent's control socket and show the same words.

mod action;
mod canvas;
pub mod console;
pub mod ctl;
mod dialog;
mod draw;
#[cfg(test)]
mod fixtures;
mod form;
mod hints;
mod keys;
#[cfg(test)]
mod manual_tests;
mod network;
mod pages;
mod plain;
mod poller;
mod run;
mod screen;
mod sections;
mod sheet;
#[cfg(test)]
mod sheet_tests;
mod shelf;
mod state;
mod steps;
#[cfg(test)]
mod steps_tests;
mod terminal;
mod text;
mod update;
mod view;
