//! `lianka-web-bindgen IN.wasm FOLDER NAME`: writes `NAME.js` and `NAME_bg.wasm` for a browser's module worker.

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, input, folder, name] = &arguments[..] else {
        anyhow::bail!("IN.wasm FOLDER NAME");
    };
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(input)
        .out_name(name)
        .typescript(true)
        .omit_default_module_path(false)
        .remove_name_section(true)
        .remove_producers_section(true)
        .web(true)?
        .generate(folder)
}
