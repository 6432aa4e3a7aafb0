//! G.711 µ-law and A-law.
