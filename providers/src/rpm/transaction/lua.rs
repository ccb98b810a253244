//! Lua scriptlets, for an interpreter that is started for one of them.

use super::action::Run;

impl Run {
    /// The script as an interpreter outside of rpm's transaction can run it (`rpmlua FILE`, or Lua
    /// 5.3 and later with rpm's `posix` and `rpm`): with what rpm would have set up before it (rpm,
    /// lib/rpmscript.c, `runLuaScript`) at the beginning of its first line, so that messages name
    /// the lines of the script. That is: `arg[2]` and `arg[3]` as numbers, the list of files behind
    /// `rpm.next_file`, and `RPM_INSTALL_PREFIX`. `None` where it is no Lua script.
    ///
    /// It fails by an error only; what `posix` cannot do it returns, as everywhere in Lua. rpm runs
    /// it in `/`, and takes back what it did to directory and umask.
    pub fn lua(&self) -> Option<Vec<u8>> {
        let body = self.body.as_deref().filter(|_| self.is_lua())?;
        let words = self.interpreter.iter().map(|word| quoted(word.as_bytes()));
        let numbers = self.arguments.iter().map(u32::to_string);
        let mut source = format!("arg = {{{}}}; ", words.chain(numbers).collect::<Vec<_>>().join(", "));
        if !self.input.is_empty() {
            let files = self.input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(quoted);
            let files = files.collect::<Vec<_>>().join(", ");
            source += &format!(
                "do local files, at = {{{files}}}, 0; rpm.next_file = function() at = at + 1; return files[at] end end; "
            );
        }
        if !self.prefixes.is_empty() {
            let prefixes = self.prefixes.iter().map(|prefix| quoted(prefix)).collect::<Vec<_>>().join(", ");
            source += &format!("RPM_INSTALL_PREFIX = {{{prefixes}}}; ");
        }
        Some([source.as_bytes(), body].concat())
    }
}

/// A string of any bytes as Lua reads it.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in bytes {
        match byte {
            b' '..=b'~' if !b"\"\\".contains(byte) => text.push(char::from(*byte)),
            // Always of three digits, so that a digit may follow.
            byte => text += &format!("\\{byte:03}"),
        }
    }
    text + "\""
}
