//! The smallest config file that serves: one account, one agent, a gateway that is not there.

use std::net::SocketAddr;
use std::path::Path;

use hushpad::config::SAMPLE_MASTER_KEY;

/// Its text, with the store and the secrets in this folder.
pub(crate) fn config(folder: &Path, [api, page, admin]: [SocketAddr; 3]) -> String {
    let key = folder.join("master.key");
    std::fs::write(&key, SAMPLE_MASTER_KEY).unwrap();
    format!(
        r#"
test_mode = true
secrets.master_key = {{ file = "{key}" }}
api = {{ listen = "{api}", public_url = "http://{api}" }}
page = {{ listen = "{page}", public_url = "http://{page}" }}
admin.listen = "{admin}"
store.path = "{store}"
[sip]
listen = ["udp:127.0.0.1:0"]
advertised_address = "127.0.0.1"
[media]
bind_address = "127.0.0.1"
advertised_address = "127.0.0.1"
port_min = 47000
port_max = 47019
[[gateways]]
name = "sandbox"
kind = "generic"
url = "http://127.0.0.1:9/charges"
query_url = "http://127.0.0.1:9/charges"
user = "sandbox"
password = {{ file = "{key}" }}
[[accounts]]
id = "shop"
default_configuration = 0
[[accounts.agents]]
id = "agent1"
phone = "sip:agent1@127.0.0.1:9"
[[accounts.configurations]]
id = 0
test = true
gateway = "sandbox"
"#,
        key = key.display(),
        store = folder.join("hushpad.db").display(),
    )
}
