//! What does a program in Jsonnet come to?

use rsjsonnet_front::Session;
use rsjsonnet_lang::{
    arena::Arena,
    lexer::Lexer,
    span::SpanManager,
    token::{STokenKind, TokenKind},
};

use super::Program;

/// The JSON that the program makes. Its errors are on standard error already: the evaluator prints them there.
pub(super) fn evaluate(program: &Program) -> Result<String, String> {
    refuse_imports(program)?;
    let printed = || String::new();
    let arena = Arena::new();
    let mut session = Session::new(&arena);
    session.set_max_trace(10);
    let thunk = session.load_virt_file(&program.file, program.text.clone().into_bytes()).ok_or_else(printed)?;
    let mut value = session.eval_value(&thunk).ok_or_else(printed)?;
    if value.is_function() {
        let state = session.program_mut();
        let entries: Vec<_> = program
            .ctx
            .entries()
            .map(|(name, text)| (state.intern_str(name), rsjsonnet_lang::program::Value::string(text)))
            .into();
        let ctx = state.make_object(&entries);
        let (name, ctx) = (state.intern_str("ctx"), state.value_to_thunk(&ctx));
        let function = state.value_to_thunk(&value);
        value = session.eval_call(&function, &[], &[(name, ctx)]).ok_or_else(printed)?;
    }
    session.manifest_json(&value, false).ok_or_else(printed)
}

/// A program is one file: what it could import are files of the machine that evaluates it.
fn refuse_imports(program: &Program) -> Result<(), String> {
    let (arena, ast_arena, mut spans) = (Arena::new(), Arena::new(), SpanManager::new());
    let interner = rsjsonnet_lang::interner::StrInterner::new();
    let text = program.text.as_bytes();
    let (context, _) = spans.insert_source_context(text.len());
    // What is no token is said by the evaluator, which can show the place.
    let Ok(tokens) = Lexer::new(&arena, &ast_arena, &interner, &mut spans, context, text).lex_to_eof(false) else {
        return Ok(());
    };
    let imports = |kind: &TokenKind<'_, '_>| {
        matches!(kind, TokenKind::Simple(STokenKind::Import | STokenKind::Importstr | STokenKind::Importbin))
    };
    let Some(import) = tokens.iter().find(|token| imports(&token.kind)) else { return Ok(()) };
    let (_, start, _) = spans.get_span(import.span);
    let before = &program.text[..start];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Err(format!("error: a definition is one file, and imports nothing\n --> {}:{line}:{column}", program.file))
}
