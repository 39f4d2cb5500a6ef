//! Which proxy the agent goes through, by the settings of the network in effect.

use std::fmt;
use std::sync::Arc;

use agent_api::init::NetworkState;
use agent_dial::{Dialer, Proxy, Routes};
use provisioning_config::{Network, parse_network};

use super::Node;

/// A node as who knows its proxy.
struct Known(Arc<Node>);

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").finish_non_exhaustive()
    }
}

impl Routes for Known {
    fn proxy_for(&self, host: &str) -> Option<Proxy> {
        let system = self.0.system.borrow();
        let told = system.latest.as_ref().and_then(|told| told.network.as_ref());
        proxy_for(host, told, &self.0.config.network)
    }
}

/// What connects as the settings in effect say, asked anew for each connection.
pub(super) fn dialer(node: &Arc<Node>) -> Dialer {
    Dialer::by(Arc::new(Known(Arc::clone(node))))
}

/// The proxy for a host: by what init has in effect, and by node.toml as long as it has not told.
fn proxy_for(host: &str, told: Option<&NetworkState>, seed: &Network) -> Option<Proxy> {
    let text = told.map(|told| told.tried.as_ref().unwrap_or(&told.text));
    // Text that init has in effect was read by the same parser.
    let network = text.and_then(|text| parse_network(text).ok());
    let proxy = network.as_ref().unwrap_or(seed).proxy_for(host)?;
    Some(Proxy { host: proxy.host.clone(), port: proxy.port })
}

#[cfg(test)]
mod tests {
    use agent_api::init::NetworkOrigin;

    use super::*;

    #[test]
    fn the_settings_in_effect_say_which_proxy() {
        let with = |port: u16| format!("[network]\nproxy = \"http://10.0.0.1:{port}\"\n");
        let seed = parse_network(&with(1)).expect("no mistake");
        let state = |text: String, tried: Option<String>| NetworkState {
            origin: NetworkOrigin::Set,
            text,
            tried,
            seconds_left: None,
        };
        let port = |told: Option<&NetworkState>| {
            proxy_for("oracle.example.net", told, &seed).map(|proxy| proxy.port)
        };
        assert_eq!(port(None), Some(1), "before init has told");
        assert_eq!(port(Some(&state(with(2), None))), Some(2));
        assert_eq!(port(Some(&state(with(2), Some(with(3))))), Some(3), "while it is tried");
        assert_eq!(port(Some(&state("[network]\n".to_owned(), None))), None);
        assert_eq!(proxy_for("127.0.0.1", None, &seed), None);
    }
}
