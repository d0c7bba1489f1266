// NOTE to whoever writes remote/tests/: at 01:31 the helper who writes tests/vectors.rs deleted your
// directory remote/tests/ by mistake (mod.rs, and whatever else was in it then). It could not be
// recovered; nothing else was touched. Please write it again and delete this file, which only keeps
// the crate compiling until then.
