//! Hushpad's domain room.
