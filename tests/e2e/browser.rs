//! A payer's phone: a real browser at phone size, told what to do step by step. Screenshots are kept in `artifacts/`.

use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command};

use serde_json::{Value, json};

use crate::cards::TestCard;
use crate::desk::{Desk, Session};
use crate::process::{Program, SCREEN};
use crate::until;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/e2e/pages");
const ARTIFACTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../artifacts");

/// A browser on the payer's phone.
pub(crate) struct PayersPhone {
    program: Program,
    told: Option<ChildStdin>,
    steps: usize,
}

impl PayersPhone {
    /// One that runs scripts.
    pub(crate) fn at(desk: &Desk) -> Self {
        Self::start(desk, "phone", true)
    }

    /// One that runs none.
    pub(crate) fn without_scripts(desk: &Desk) -> Self {
        Self::start(desk, "plain-phone", false)
    }

    /// Another one beside the first.
    pub(crate) fn second(desk: &Desk) -> Self {
        Self::start(desk, "second-phone", true)
    }

    /// The agent's browser.
    pub(crate) fn of_the_agent(desk: &Desk) -> Self {
        Self::start(desk, "agent-screen", true)
    }

    fn start(desk: &Desk, name: &str, scripts: bool) -> Self {
        std::fs::create_dir_all(ARTIFACTS).unwrap();
        let task = json!({
            "chromium": "/usr/bin/chromium", "place": desk.workplace(), "shots": ARTIFACTS, "scripts": scripts,
        });
        let mut node = Command::new("node");
        node.arg(Path::new(PAGES).join("payer_page.mjs")).arg(task.to_string());
        let log = desk.workplace().join(format!("{name}.log"));
        let (program, told) = Program::start_told(SCREEN, &mut node, &log);
        Self { program, told: Some(told), steps: 0 }
    }

    pub(crate) fn opens(&mut self, url: &str) -> &mut Self {
        self.does(&json!({ "do": "open", "url": url }))
    }

    /// Opens the agent page, as a shop's page does: this is the agent's browser, then.
    pub(crate) fn opens_agent_page(&mut self, session: &Session) -> &mut Self {
        let text = |name: &str| session.reply[name].as_str().unwrap().to_owned();
        let fields = json!({
            "X-BEARER-TOKEN": text("agentAccessToken"), "X-REFRESH-TOKEN": text("agentRefreshToken"),
        });
        self.does(&json!({ "do": "form", "url": text("paymentFormUrl"), "fields": fields }))
    }

    /// Types a whole card. From now on its digits may be nowhere.
    pub(crate) fn types(&mut self, desk: &mut Desk, card: TestCard) -> &mut Self {
        desk.expects_card(card);
        self.does(&json!({
            "do": "type", "number": card.number, "expiry": card.expiry, "code": card.security_code,
        }))
    }

    /// Types into one field: `number`, `expiry` or `code`.
    pub(crate) fn types_into(&mut self, field: &str, keys: &str) -> &mut Self {
        self.does(&json!({ "do": "type", field: keys }))
    }

    pub(crate) fn presses(&mut self, button: &str) -> &mut Self {
        self.does(&json!({ "do": "press", "text": button }))
    }

    pub(crate) fn sees(&mut self, text: &str) -> &mut Self {
        self.does(&json!({ "do": "see", "text": text }))
    }

    pub(crate) fn is_focused_on(&mut self, id: &str) -> &mut Self {
        self.does(&json!({ "do": "focused", "text": id }))
    }

    /// Keeps a screenshot, and what axe says of the page.
    pub(crate) fn keeps(&mut self, name: &str) -> &mut Self {
        self.does(&json!({ "do": "keep", "name": name }))
    }

    /// Begins a step and does not wait for its end.
    pub(crate) fn begins_to_press(&mut self, button: &str) {
        self.tells(&json!({ "do": "press", "text": button }));
    }

    /// Waits for the end of what was begun.
    pub(crate) fn is_done(&mut self) -> &mut Self {
        let wanted = format!("done {}\n", self.steps);
        until(&format!("the phone is done with step {}", self.steps), || {
            let said = self.program.log();
            assert!(self.program.is_running(), "the browser's script ended: {said}");
            said.contains(&wanted).then_some(())
        });
        self
    }

    /// Puts the phone away. Nothing may have been complained about.
    pub(crate) fn puts_it_away(mut self) {
        drop(self.told.take());
        assert!(self.program.ends().success(), "{}", self.program.log());
        let said = self.program.log();
        let faults: Vec<_> = said.lines().filter(|line| line.starts_with("fault")).collect();
        assert_eq!(faults, Vec::<&str>::new());
    }

    fn does(&mut self, step: &Value) -> &mut Self {
        self.tells(step);
        self.is_done()
    }

    fn tells(&mut self, step: &Value) {
        let told = self.told.as_mut().expect("the phone is there");
        writeln!(told, "{step}").unwrap();
        self.steps += 1;
    }
}
