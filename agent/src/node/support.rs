//! The support bundle and the hardware inventory.

mod inventory;

use agent_api::control::{Reply, Request};

use super::{Node, control};
use inventory::Sources;

/// Answers such a request.
pub(crate) async fn answer(node: &Node, request: Request) -> Reply {
    match request {
        Request::Inventory => {
            let sources = sources(node);
            let reading = tokio::task::spawn_blocking(move || inventory::inventory(&sources));
            match reading.await {
                Ok(inventory) => Reply::Inventory(Box::new(inventory)),
                Err(error) => {
                    control::refused(format!("cannot read what the node is made of: {error}"))
                }
            }
        }
        _ => control::refused("this release of the node cannot do that yet"),
    }
}

fn sources(node: &Node) -> Sources {
    let ports = node.system.borrow().latest.as_ref().map(|system| system.ports.clone());
    Sources {
        sys: node.arguments.sys.clone(),
        proc: node.arguments.proc.clone(),
        ports: ports.unwrap_or_default(),
        disks: node.disks.borrow().latest.clone(),
    }
}
