//! Hushpad's gateways room.
