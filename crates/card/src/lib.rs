//! Hushpad's card room.
