//! The real connectors of all six gateways, at a simulator.

use hushpad_domain::ids::GatewayName;
use hushpad_domain::ports::World;
use hushpad_gateways::sandbox;
use hushpad_gateways::{CyberSourceAuth, GatewayConfig, GatewayKind, Gateways};

use super::world::VirtualWorld;

const NAMES: [&str; 6] = ["generic", "cybersource", "stripe", "adyen", "worldpay", "mpgs"];
/// All of them, by the names of the simulator's formats.
pub(crate) fn all_at(base: &str, world: &VirtualWorld) -> Gateways {
    let clock = world.clone();
    let configs = NAMES.map(|name| GatewayConfig::new(GatewayName(name.to_owned()), kind(name, base)));
    Gateways::with_clock(configs.to_vec(), Box::new(move || clock.now())).unwrap()
}

fn kind(name: &str, base: &str) -> GatewayKind {
    let text = str::to_owned;
    match name {
        "generic" => GatewayKind::Generic {
            url: format!("{base}/charges"),
            operations_url: Some(format!("{base}/charges")),
            query_url: Some(format!("{base}/charges")),
            user: text(sandbox::USER),
            password: text(sandbox::PASSWORD),
        },
        "cybersource" => GatewayKind::CyberSource {
            url: text(base),
            merchant_id: text(sandbox::CYBERSOURCE_MERCHANT),
            key_id: text(sandbox::CYBERSOURCE_KEY_ID),
            secret: text(sandbox::CYBERSOURCE_SECRET),
            auth: CyberSourceAuth::Jwt,
        },
        "stripe" => GatewayKind::Stripe { url: text(base), secret_key: text(sandbox::STRIPE_KEY) },
        "adyen" => GatewayKind::Adyen {
            url: format!("{base}/v72"),
            merchant_account: text(sandbox::ADYEN_MERCHANT),
            api_key: text(sandbox::ADYEN_API_KEY),
            hmac_key: Some(text(sandbox::ADYEN_HMAC_KEY)),
        },
        "worldpay" => GatewayKind::Worldpay {
            url: text(base),
            entity: text(sandbox::WORLDPAY_ENTITY),
            narrative: text("Shop"),
            user: text(sandbox::USER),
            password: text(sandbox::PASSWORD),
        },
        "mpgs" => GatewayKind::Mpgs {
            url: text(base),
            merchant_id: text(sandbox::MPGS_MERCHANT),
            password: text(sandbox::PASSWORD),
        },
        other => panic!("no gateway is called {other}"),
    }
}
