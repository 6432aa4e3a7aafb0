//! `hushpad demo --once`: the story without a browser.
