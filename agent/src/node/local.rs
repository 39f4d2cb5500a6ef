//! What only a person at the console decides: disks claimed by hand, the PIN, the first steps, the daemon key's
//! words, and the way back to a node that is new.

use agent_api::control::{Reply, Request};

use super::{Node, control};

/// Answers such a request.
pub(crate) async fn answer(_node: &Node, _request: Request) -> Reply {
    control::refused("this release of the node cannot do that yet")
}
