//! Hushpad's store room.
