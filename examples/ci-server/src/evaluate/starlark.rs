//! What does a program in Starlark come to?

use starlark::{
    PrintHandler,
    environment::{Globals, GlobalsBuilder, LibraryExtension, Module},
    eval::Evaluator,
    syntax::{AstModule, Dialect},
    values::dict::AllocDict,
};

use super::Program;

/// `print` says nothing to anybody.
struct Discarded;

impl PrintHandler for Discarded {
    fn println(&self, _: &str) -> starlark::Result<()> {
        Ok(())
    }
}

fn globals() -> Globals {
    GlobalsBuilder::extended_by(&[LibraryExtension::Print, LibraryExtension::Json]).build()
}

/// The JSON of what `main(ctx)` returns.
pub(super) fn evaluate(program: &Program) -> Result<String, String> {
    run(program).map_err(|error| error.to_string())
}

fn run(program: &Program) -> starlark::Result<String> {
    let dialect = Dialect { enable_load: false, ..Dialect::Standard };
    let ast = AstModule::parse(&program.file, program.text.clone(), &dialect)?;
    let globals = globals();
    Module::with_temp_heap(|module| {
        let mut evaluator = Evaluator::new(&module);
        evaluator.set_print_handler(&Discarded);
        evaluator.eval_module(ast, &globals)?;
        let missing = || starlark::Error::new_other(std::io::Error::other("the program has no function `main(ctx)`"));
        let main = module.get("main").ok_or_else(missing)?;
        let ctx = module.heap().alloc(AllocDict(program.ctx.entries()));
        let value = evaluator.eval_function(main, &[ctx], &[])?;
        value.to_json().map_err(starlark::Error::new_other)
    })
}
