//! Greets people by name.

/// The greeting for `name`, or for everybody if it is blank.
pub fn greeting(name: &str) -> String {
    match name.trim() {
        "" => "Hello, world!".to_owned(),
        name => format!("Hello, {name}!"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_greeted_without_its_blanks() {
        assert_eq!(greeting(" Ada "), "Hello, Ada!");
    }

    #[test]
    fn nobody_in_particular_is_everybody() {
        assert_eq!(greeting(" "), "Hello, world!");
    }
}
