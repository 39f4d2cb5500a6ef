//! What the node is made of, and the bundle for whoever helps.

use agent_api::client::AgentClient;
use agent_api::control::VERSION;
use agent_api::words;
use anyhow::Result;
use serde_json::json;

use super::Answer;

/// Shows what the node is made of.
///
/// # Errors
/// The agent does not answer, or refuses.
pub(super) fn inventory(agent: &mut AgentClient) -> Result<Answer> {
    let inventory = agent.inventory()?;
    Ok(Answer {
        text: words::support::inventory(&inventory),
        json: json!({ "v": VERSION, "inventory": inventory }),
        needs_attention: false,
    })
}

/// Has a support bundle written, and waits for it.
///
/// # Errors
/// The agent does not answer, or refuses: there is no stick, or nobody could open the bundle.
pub(super) fn write(agent: &mut AgentClient) -> Result<Answer> {
    let written = agent.write_support()?;
    Ok(Answer {
        text: words::support::written(&written),
        json: json!({ "v": VERSION, "written": written }),
        needs_attention: false,
    })
}
