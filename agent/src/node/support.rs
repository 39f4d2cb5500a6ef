//! The support bundle and the hardware inventory.

use agent_api::control::{Reply, Request};

use super::{Node, control};

/// Answers such a request.
pub(crate) async fn answer(_node: &Node, _request: Request) -> Reply {
    control::refused("this release of the node cannot do that yet")
}
