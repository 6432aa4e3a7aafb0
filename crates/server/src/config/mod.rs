//! `hushpad.toml`, parsed into final types.
