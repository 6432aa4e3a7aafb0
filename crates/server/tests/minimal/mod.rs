//! The smallest config file that serves: one account, one agent, a gateway that is not there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use hushpad::config::SAMPLE_MASTER_KEY;

/// Addresses for the listeners of one test, which no other test and no connection going out gets meanwhile.
///
/// A port that the kernel has just given and taken back is not one: until the server listens on it, the kernel may give
/// it to the next who asks.
pub(crate) struct Places {
    pub(crate) addresses: [SocketAddr; 4],
    /// On the row's last port: who looks for a row sees that this one is taken.
    _claim: TcpListener,
}

impl Places {
    pub(crate) fn find() -> Self {
        // Above the rows of the tests with real processes, below the range from which the kernel gives ports.
        const LOWEST: u16 = 30_500;
        const ROWS: u16 = 400;
        const COUNT: u16 = 5;
        let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let claimed = |row| {
            let first = LOWEST + row * COUNT;
            let claim = listen(first + COUNT - 1).ok()?;
            let addresses = [0, 1, 2, 3].map(|place| SocketAddr::from((Ipv4Addr::LOCALHOST, first + place)));
            let are_free = addresses.iter().all(|address| listen(address.port()).is_ok());
            are_free.then_some(Self { addresses, _claim: claim })
        };
        (0..ROWS).find_map(claimed).expect("there are free ports")
    }
}

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
