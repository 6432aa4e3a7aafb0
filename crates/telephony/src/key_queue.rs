//! Keys on their way to the one task that may read them; merged over carriers, wiped when read.
