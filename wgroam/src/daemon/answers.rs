// SPDX-License-Identifier: GPL-2.0-only
//! What the daemon answers to those on the control socket.

use std::time::Instant;

use super::Daemon;
use super::requests::{self, Request};
use crate::engine::{Command, Event};
use crate::linux::control::{ClientId, Rendering, Request as Asked, Then, header};
use crate::lists;
use crate::model::Interface;
use crate::render;

impl Daemon {
    pub(super) fn answer(&mut self, now: Instant, asked: Vec<Asked>) {
        for request in asked {
            self.answer_one(now, &request);
        }
    }

    #[inline(never)]
    fn answer_one(&mut self, now: Instant, request: &Asked) {
        let client = request.client;
        match Request::parse(&request.line, self.engine.config()) {
            Ok(Request::Status { json, interface }) => self.answer_status(now, client, json, interface),
            Ok(Request::Watch { json }) => {
                self.control.reply(client, header(0, ""), Then::Keep);
                self.control.subscribe(client, if json { Rendering::Json } else { Rendering::Text });
            }
            Ok(Request::Poke { interface, peer }) => {
                let status = self.engine.status(now);
                let (code, words) = match requests::count_pokable(&status, interface, peer) {
                    (0, _) => (1, "there is no such peer; `wgroam status` lists them".to_string()),
                    (found, 0) => (
                        1,
                        format!("{found} found, but nobody knows where they are: they have to call first"),
                    ),
                    (_, pokable) => {
                        self.engine.handle_event(now, Event::Command(Command::Poke { interface, peer }));
                        (0, format!("poked {pokable}"))
                    }
                };
                self.control.reply(client, header(code, &words), Then::Close);
            }
            Ok(Request::Reload) => {
                let (code, words) = match self.reload(now) {
                    Ok(()) => (0, String::new()),
                    Err(error) => (1, error),
                };
                self.control.reply(client, header(code, &words), Then::Close);
            }
            Err(words) => self.control.reply(client, header(2, &words), Then::Close),
        }
    }

    fn answer_status(&mut self, now: Instant, client: ClientId, json: bool, interface: Option<Interface>) {
        let mut status = self.engine.status(now);
        let (mut code, mut words) = (0, String::new());
        if let Some(name) = interface {
            lists::keep(&mut status.devices, |device| device.interface == name);
            match render::is_alive(&status, name) {
                Some(true) => {}
                Some(false) => code = 1,
                None => {
                    (code, words) = (1, format!("{name} is not a WireGuard interface that wgroam watches"))
                }
            }
        }
        let uptime = now - self.started;
        let body =
            if json { render::status_json(&status, uptime) } else { render::status_text(&status, uptime) };
        self.control.reply(client, [header(code, &words), body.into_bytes()].concat(), Then::Close);
    }
}
