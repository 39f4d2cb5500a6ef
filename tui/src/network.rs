//! Settings of the network as a person changes them: one port at a time, for the console's form and for
//! `icnctl network set`. Pure.

mod edit;
mod form;

pub(crate) use edit::{
    BondWish, NtpWish, Shared, Through, Wish, base, check_name, current, set, set_shared,
};
pub(crate) use form::{NetworkForm, Sent, address, direct, net, proxy, time_servers};
