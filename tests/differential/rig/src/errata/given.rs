// SPDX-License-Identifier: Apache-2.0
//! What an entry gives the CPU: a register of the guest is for the rows, wherever it is seen; the rest is for the rules
//! of fields.toml.

use super::{Claim, Context, Tally};
use crate::compare::{Difference, Kind};
use crate::fields::Given;

impl Tally {
    pub fn claims_given(&mut self, context: &Context, d: &Difference, given: Given) -> Option<Claim> {
        if let Some(number) = given.register() {
            let kind = Kind::Field(number);
            let row = self.claims(context, &Difference { kind, ..d.clone() });
            if row.is_some() {
                return row;
            }
        }
        let explained = self.given.explains(context.backend, context.features, d);
        explained.then(|| Claim::of("fields.toml"))
    }
}
