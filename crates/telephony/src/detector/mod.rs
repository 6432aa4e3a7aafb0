//! The DTMF detector (ITU-T Q.23, Q.24). Pure.
