//! Hushpad's web room.
