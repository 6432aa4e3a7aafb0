//! Our connectors against the simulator: what each can do, it does, and the ledger agrees.

use std::net::SocketAddr;

use hushpad_gateways::sandbox::{self, Ledger};
use hushpad_gateways::{CyberSourceAuth, GatewayKind};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::shop::{Shop, now};

/// A simulator in this process.
pub(crate) struct Simulator {
    pub(crate) address: SocketAddr,
    pub(crate) ledger: Ledger,
    server: AbortHandle,
}

impl Simulator {
    pub(crate) async fn open() -> Self {
        Self::with(Ledger::in_memory_at(now)).await
    }

    pub(crate) async fn with(ledger: Ledger) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = sandbox::serve(listener, ledger.clone(), std::future::pending::<()>());
        Self { address, ledger, server: tokio::spawn(serving).abort_handle() }
    }

    /// Every operation of a connector, whose requests go to `address`.
    pub(crate) async fn takes(&self, kind: GatewayKind) {
        Shop::new(kind, Some(self.ledger.clone())).does_everything().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(crate) fn generic(address: SocketAddr) -> GatewayKind {
    let url = format!("http://{address}/charges");
    GatewayKind::Generic {
        operations_url: Some(url.clone()),
        query_url: Some(url.clone()),
        url,
        user: sandbox::USER.to_owned(),
        password: sandbox::PASSWORD.to_owned(),
    }
}

pub(crate) fn cybersource(address: SocketAddr, auth: CyberSourceAuth) -> GatewayKind {
    GatewayKind::CyberSource {
        url: format!("http://{address}"),
        merchant_id: sandbox::CYBERSOURCE_MERCHANT.to_owned(),
        key_id: sandbox::CYBERSOURCE_KEY_ID.to_owned(),
        secret: sandbox::CYBERSOURCE_SECRET.to_owned(),
        auth,
    }
}

pub(crate) fn stripe(address: SocketAddr) -> GatewayKind {
    GatewayKind::Stripe { url: format!("http://{address}"), secret_key: sandbox::STRIPE_KEY.to_owned() }
}

pub(crate) fn adyen(url: String) -> GatewayKind {
    GatewayKind::Adyen {
        url,
        merchant_account: sandbox::ADYEN_MERCHANT.to_owned(),
        api_key: sandbox::ADYEN_API_KEY.to_owned(),
        hmac_key: Some(sandbox::ADYEN_HMAC_KEY.to_owned()),
    }
}

#[tokio::test]
async fn the_generic_gateway_is_what_its_connector_thinks() {
    let simulator = Simulator::open().await;
    simulator.takes(generic(simulator.address)).await;
}

#[tokio::test]
async fn cybersource_is_what_its_connector_thinks_signed_either_way() {
    for auth in [CyberSourceAuth::Jwt, CyberSourceAuth::HttpSignature] {
        let simulator = Simulator::open().await;
        simulator.takes(cybersource(simulator.address, auth)).await;
    }
}

#[tokio::test]
async fn stripe_is_what_its_connector_thinks() {
    let simulator = Simulator::open().await;
    simulator.takes(stripe(simulator.address)).await;
}

#[tokio::test]
async fn adyen_is_what_its_connector_thinks() {
    let simulator = Simulator::open().await;
    simulator.takes(adyen(format!("http://{}/v72", simulator.address))).await;
}

#[tokio::test]
async fn worldpay_is_what_its_connector_thinks() {
    let simulator = Simulator::open().await;
    let kind = GatewayKind::Worldpay {
        url: format!("http://{}", simulator.address),
        entity: sandbox::WORLDPAY_ENTITY.to_owned(),
        narrative: "Shop".to_owned(),
        user: sandbox::USER.to_owned(),
        password: sandbox::PASSWORD.to_owned(),
    };
    simulator.takes(kind).await;
}

#[tokio::test]
async fn mpgs_is_what_its_connector_thinks() {
    let simulator = Simulator::open().await;
    let kind = GatewayKind::Mpgs {
        url: format!("http://{}", simulator.address),
        merchant_id: sandbox::MPGS_MERCHANT.to_owned(),
        password: sandbox::PASSWORD.to_owned(),
    };
    simulator.takes(kind).await;
}
