use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;

use super::Masker;

fn masked(secrets: &[&str], output: &str) -> String {
    let mut masker = Masker::new(secrets);
    let mut shown = masker.pass(output.as_bytes()).into_owned();
    shown.extend(masker.finish());
    String::from_utf8(shown).expect("text")
}

#[test]
fn values_are_hidden_wherever_they_stand() {
    for (secrets, output, expected) in [
        (&["hunter2"][..], "hunter2", "***"),
        (&["hunter2"], "a hunter2, and hunter2hunter2.\n", "a ***, and ***.\n"),
        (&["hunter2"], "hunter3 hunter", "hunter3 hunter"),
        (&[], "hunter2", "hunter2"),
        (&["abc", ""], "abc abcd", "abc abcd"),
        (&["abcd1234", "1234wxyz"], "<abcd1234wxyz>", "<***>"),
        (&["abcd", "abcdefgh"], "abcdef abcdefgh", "***ef ***"),
        (&["xabcdx", "abcd"], "xabcd abcdx xabcdx", "x*** ***x ***"),
        (&["aaaa"], "aaa aaaaaaaaa", "aaa ***"),
        (&["pässwörd"], "pässwörd, pässwör", "***, pässwör"),
    ] {
        assert_eq!(masked(secrets, output), expected, "{output}");
    }
}

#[test]
fn each_line_of_a_value_is_hidden() {
    let key = "-----BEGIN KEY-----\r\nMIIEowIBAAKCAQEA\nxy\nlast line\n";
    assert_eq!(masked(&[key], "of MIIEowIBAAKCAQEA and last line: xy"), "of *** and ***: xy");
    assert_eq!(masked(&[key], key), "***\n");
    assert_eq!(masked(&[key], key.trim_end()), "***");
}

#[test]
fn base64_is_hidden_alone_and_as_a_part_of_something_longer() {
    let secret = "s3cr3t>>?value";
    for before in ["", "u", "us", "use", "user"] {
        for after in ["", ":", "::", ":::"] {
            let text = format!("{before}{secret}{after}");
            for encoded in [STANDARD.encode(&text), URL_SAFE_NO_PAD.encode(&text)] {
                let shown = masked(&[secret], &format!("Basic {encoded}\n"));
                // At most the characters that it shares with its neighbours are left.
                let rest: String = shown.replace("Basic ", "").replace("***", "");
                assert!(shown.contains("***") && rest.len() <= (before.len() + after.len()) * 2 + 4, "{text}: {shown}");
            }
        }
    }
    assert_eq!(masked(&[secret], &STANDARD.encode(secret)), "***");
}

#[test]
fn base64_in_lines_is_hidden_as_tools_print_it() {
    let secret = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-and-some-more-of-it";
    for width in [76, 64] {
        let encoded = STANDARD.encode(format!("{secret}\n"));
        let lines: Vec<_> = encoded.as_bytes().chunks(width).map(|line| String::from_utf8_lossy(line)).collect();
        let shown = masked(&[secret], &lines.join("\n"));
        assert!(shown.len() <= lines.len() * 4 + 4, "{shown}");
    }
}

#[test]
fn nothing_is_held_back_that_cannot_be_a_secret() {
    let mut masker = Masker::new(["hunter2", &"long ".repeat(100)]);
    assert_eq!(&*masker.pass(b"a line\n"), b"a line\n");
    assert_eq!(&*masker.pass(b"progress 50 %"), b"progress 50 %");
    assert_eq!(&*masker.pass(b" hun"), b" ");
    assert_eq!(&*masker.pass(b"d\n"), b"hund\n");
    assert_eq!(masker.finish(), b"");
}

#[test]
fn what_is_hidden_stays_so_when_nothing_comes() {
    let mut masker = Masker::new(["aaaaa", "baaa"]);
    assert_eq!(&*masker.pass(b"baaa"), b"***");
    assert_eq!(&*masker.pass(b""), b"");
    assert_eq!(&*masker.pass(b"a\n"), b"a\n");
}

proptest! {
    #[test]
    fn pieces_change_nothing(
        secrets in prop::collection::vec("[ab]{4,7}", 1..5),
        output in "[abc\n]{0,80}",
        cuts in prop::collection::vec(0..80_usize, 0..12),
    ) {
        let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let mut masker = Masker::new(&secrets);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(output.len())).collect();
        cuts.sort_unstable();
        cuts.push(output.len());
        let (mut at, mut shown) = (0, Vec::new());
        for cut in cuts {
            shown.extend_from_slice(&masker.pass(&output.as_bytes()[at..cut]));
            at = cut;
        }
        shown.extend(masker.finish());
        let shown = String::from_utf8(shown).expect("text");
        prop_assert_eq!(&shown, &naive(&secrets, &output));
        prop_assert_eq!(&shown, &masker.mask(&output));
    }
}

/// Marks every byte that is covered by a value, and replaces each run of them.
fn naive(secrets: &[&str], output: &str) -> String {
    let mut covered = vec![false; output.len()];
    for secret in secrets {
        for at in 0..output.len() {
            if output[at..].starts_with(secret) {
                covered[at..at + secret.len()].fill(true);
            }
        }
    }
    let mut shown = String::new();
    for (at, byte) in output.char_indices() {
        match (covered[at], at > 0 && covered[at - 1]) {
            (false, _) => shown.push(byte),
            (true, false) => shown.push_str("***"),
            (true, true) => {}
        }
    }
    shown
}
