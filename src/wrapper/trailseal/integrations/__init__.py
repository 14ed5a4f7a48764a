"""TrailSeal inside other libraries; a module needs no more than the library it is named after."""
