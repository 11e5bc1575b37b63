//! Linux: what a system is and has (`facts`), what is to be done so that it is as a configuration says (`plan`,
//! `users`, `hostname`, `network/`: pure, in the words of `act`), and the doing (`tree`).

mod act;
mod facts;
mod hostname;
mod install;
mod network;
mod plan;
mod tree;
mod users;

use std::path::PathBuf;

use labyard_exchange::{Configuration, Progress, Stage};

use crate::run::{Failed, System};
use facts::Facts;
use tree::Tree;

pub(crate) use install::install;

/// A system: the running one, or a tree.
#[derive(Debug)]
pub(crate) struct Linux {
    tree: Tree,
}

impl Linux {
    /// The one below this directory.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self {
            tree: Tree::new(root),
        }
    }
}

impl System for Linux {
    fn apply(&mut self, configuration: &Configuration, tell: &mut dyn FnMut(Progress)) -> Result<(), Failed> {
        tell(Progress {
            stage: Stage::Look,
            percent: 0,
        });
        let facts = Facts::look(&self.tree).map_err(|error| Failed {
            stage: Stage::Look,
            why: error.to_string(),
        })?;
        let steps = plan::plan(configuration, &facts).map_err(|error| Failed {
            stage: error.stage(),
            why: error.to_string(),
        })?;
        let all = steps.len().max(1);
        let mut told = Stage::Look;
        for (number, step) in steps.iter().enumerate() {
            if step.stage != told {
                told = step.stage;
                tell(Progress {
                    stage: told,
                    percent: u8::try_from(number * 100 / all).unwrap_or(100),
                });
            }
            self.tree.perform(&step.act).map_err(|error| Failed {
                stage: step.stage,
                why: error.to_string(),
            })?;
        }
        Ok(())
    }
}
