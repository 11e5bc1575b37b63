//! What a person may do here, by what the provider says of them.

use super::SignInError;
use crate::config::{Grant, Oidc};
use labyard_api::token::Role;
use serde_json::{Map, Value};

/// Who signed in, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) person: String,
    pub(crate) role: Role,
    pub(crate) namespaces: Option<Vec<String>>,
}

const LONGEST: usize = 100;

/// The first grant that is for a person.
pub(crate) fn granted(claims: &Map<String, Value>, config: &Oidc) -> Result<Granted, SignInError> {
    let said = claims
        .get(&config.user_claim)
        .and_then(Value::as_str)
        .unwrap_or_default();
    // It stands in the log and in the names of tokens.
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '+');
    if said.is_empty() || said.chars().count() > LONGEST || !said.chars().all(fine) {
        return Err(SignInError::Unproven(format!(
            "the claim {:?} is no name of 1 to {LONGEST} letters, digits and . _ - @ +",
            config.user_claim
        )));
    }
    let person = said.to_owned();
    match config.grants.iter().find(|grant| is_for(grant, claims)) {
        Some(grant) => Ok(Granted {
            person,
            role: grant.role,
            namespaces: grant.namespaces.clone(),
        }),
        None => Err(SignInError::NoRole { person }),
    }
}

fn is_for(grant: &Grant, claims: &Map<String, Value>) -> bool {
    match claims.get(&grant.claim) {
        Some(Value::Array(all)) => all.iter().any(|one| *one == *grant.value),
        Some(one) => *one == *grant.value,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(claims: &Value) -> Result<Granted, SignInError> {
        let config: Oidc = toml::from_str(
            "issuer = \"https://id.example\"\nclient_id = \"labyard\"\nredirect_url = \"https://l.example/v1/login/callback\"\n\
             [[grants]]\nclaim = \"groups\"\nvalue = \"admins\"\nrole = \"admin\"\n\
             [[grants]]\nclaim = \"groups\"\nvalue = \"physics\"\nrole = \"operator\"\nnamespaces = [\"physics\"]\n",
        )
        .unwrap();
        granted(claims.as_object().unwrap(), &config)
    }

    #[test]
    fn the_first_grant_that_fits_counts_and_nobody_else_has_one() {
        let ada = found(&serde_json::json!({"sub": "ada", "groups": ["physics", "admins"]})).unwrap();
        assert_eq!((ada.role, ada.namespaces), (Role::Admin, None));
        let ben = found(&serde_json::json!({"sub": "ben", "groups": "physics"})).unwrap();
        assert_eq!(
            (ben.role, ben.namespaces),
            (Role::Operator, Some(vec!["physics".to_owned()]))
        );
        for nobody in [
            serde_json::json!({"sub": "eve", "groups": ["admins2"]}),
            serde_json::json!({"sub": "eve"}),
            serde_json::json!({"groups": "admins"}),
            serde_json::json!({"sub": "a b\n", "groups": "admins"}),
        ] {
            assert!(found(&nobody).is_err(), "{nobody}");
        }
    }
}
