use super::*;

#[track_caller]
fn assert_frames(stack: &str, expected: &[(&str, u32, &str)]) {
    let found = frames(stack);
    let found: Vec<_> = found
        .iter()
        .map(|frame| {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            (text(frame.file), frame.line.unwrap_or_default(), text(frame.function))
        })
        .collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(path, line, label)| ((*path).to_owned(), *line, (*label).to_owned()))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn rust() {
    assert_frames(
        "   0: std::backtrace::Backtrace::create\n             at /rustc/0/library/std/src/backtrace.rs:331:13\n   \
         1: cruddur::store::read::h0123456789abcdef\n             at ./functions/src/store/mod.rs:12:5\n   \
         2: __libc_start_main\n   3: 0x7f0000000000 - main\n",
        &[
            ("/rustc/0/library/std/src/backtrace.rs", 331, "std::backtrace::Backtrace::create"),
            ("./functions/src/store/mod.rs", 12, "cruddur::store::read"),
            ("", 0, "__libc_start_main"),
            ("", 0, "main"),
        ],
    );
}

#[test]
fn this_very_programs_own_backtrace() {
    let stack = std::backtrace::Backtrace::force_capture().to_string();

    let found = frames(&stack);

    let this = |frame: &StackFrame<'_>| {
        frame.function.is_some_and(|function| function.contains("own_backtrace"))
            && frame.file.is_some_and(|file| file.ends_with("backtrace/tests.rs"))
    };
    assert!(found.iter().any(this), "{stack}");
}

#[test]
fn javascript() {
    assert_frames(
        "TypeError: x is not a function\n    at handler (/var/task/index.js:3:9)\n    at /var/task/a.js:7:1\n",
        &[("/var/task/index.js", 3, "handler"), ("/var/task/a.js", 7, "")],
    );
}

#[test]
fn java_and_dotnet() {
    assert_frames(
        "java.lang.IllegalStateException: x\n\tat com.example.Handler.handle(Handler.java:12)\n",
        &[("Handler.java", 12, "com.example.Handler.handle")],
    );
    assert_frames(
        "   at Example.Handler.Handle() in /src/Handler.cs:line 12\n",
        &[("/src/Handler.cs", 12, "Example.Handler.Handle()")],
    );
}

#[test]
fn python_the_innermost_first() {
    assert_frames(
        "Traceback (most recent call last):\n  File \"/a.py\", line 1, in <module>\n    f()\n  \
         File \"/b.py\", line 2, in f\n    raise X\n",
        &[("/b.py", 2, "f"), ("/a.py", 1, "<module>")],
    );
}

#[test]
fn anything_else_has_no_frames() {
    assert_frames("no stack at all: 12\n4 : x\n", &[]);
}

#[test]
fn what_else_a_stack_says_is_noticed() {
    for stack in
        ["", "Gone: x\n\tat a.B.f(B.java:12)\n", "   0: a::b\n             at src/a.rs:3:1\n"]
    {
        assert!(is_frames_alone(stack), "{stack}");
    }
    for stack in [
        "Gone: x\n\tat a.B.f(B.java:12)\nCaused by: Lost: y\n\t... 3 more\n",
        "Traceback (most recent call last):\n  File \"/a.py\", line 1, in f\n    f()\nGone: x",
        "Gone: two\nlines\n    at f (a.js:1:1)\n",
    ] {
        assert!(!is_frames_alone(stack), "{stack}");
    }
}

#[test]
fn ours_is_what_no_library_and_no_language_brought() {
    let ours = |stack| frames(stack).iter().map(StackFrame::is_ours).collect::<Vec<_>>();
    let rust = "0: core::panicking::panic\n at /rustc/0/library/core/src/panicking.rs:1:1\n\
                1: cruddur::store::read\n at ./functions/src/store/mod.rs:12:5\n\
                2: hyper::x\n at /home/a/.cargo/registry/src/i/hyper-1/src/a.rs:1:1\n\
                3: cruddur::b\n4: <tokio::x as y>::z\n5: main\n";
    assert_eq!(ours(rust), [false, true, false, true, false, false]);
    let node = "at f (/var/task/index.js:3:9)\nat g (/var/task/node_modules/x/i.js:1:1)\n\
                at process.x (node:internal/process/task_queues:95:5)";
    assert_eq!(ours(node), [true, false, false]);
}

/// Class, message, and number of frames of each exception, and the file of its innermost frame.
#[track_caller]
fn assert_chain(stack: &str, expected: &[(&str, &str, usize, &str)]) {
    let found = exceptions(stack);
    let found: Vec<_> = found
        .iter()
        .map(|it| {
            let file = it.frames.first().and_then(|frame| frame.file).unwrap_or_default();
            (it.class, it.message.as_str(), it.frames.len(), file)
        })
        .collect();
    assert_eq!(found, expected, "{stack}");
}

#[test]
fn causes_of_java_follow_and_suppressed_exceptions_come_last() {
    assert_chain(
        "Exception in thread \"main\" app.Outer: no order\n\tat app.A.b(A.java:12)\n\tat app.A.c(A.java:9)\n\t\
         Suppressed: app.Close: shut\n\t\tat app.S.t(S.java:1)\n\
         Caused by: java.io.IOException: disk\nfull\n\tat app.E.f(E.java:3) ~[app.jar:1.0]\n\t... 1 more\n\
         Caused by: java.lang.Error\n\tat app.X.y(Native Method)\n",
        &[
            ("app.Outer", "no order", 2, "A.java"),
            ("java.io.IOException", "disk\nfull", 1, "E.java"),
            ("java.lang.Error", "", 1, ""),
            ("app.Close", "shut", 1, "S.java"),
        ],
    );
}

#[test]
fn causes_of_javascript_and_members_of_an_aggregate_follow() {
    assert_chain(
        "Error: outer\n    at f (/var/task/a.js:1:1) {\n  code: 'E1',\n  [cause]: TypeError [ERR_X]: inner\n      \
         at g (/var/task/b.js:2:2) {\n    [cause]: 'text'\n  }\n}\n",
        &[
            ("Error", "outer", 1, "/var/task/a.js"),
            ("TypeError [ERR_X]", "inner", 1, "/var/task/b.js"),
            ("", "'text'", 0, ""),
        ],
    );
    assert_chain(
        "Error: outer\n    at f (/var/task/a.js:1:1)\ncaused by: Error: inner\n    at g (/var/task/b.js:2:2)\n",
        &[("Error", "outer", 1, "/var/task/a.js"), ("Error", "inner", 1, "/var/task/b.js")],
    );
    assert_chain(
        "AggregateError: All failed\n    at async f (/a.js:1:1) {\n  [errors]: [\n    Error: one\n        at g (/b.js:2:2)\n        \
         at h (/c.js:2:2),\n    RangeError: two\n        at i (/d.js:2:2)\n  ]\n}",
        &[
            ("AggregateError", "All failed", 1, "/a.js"),
            ("Error", "one", 2, "/b.js"),
            ("RangeError", "two", 1, "/d.js"),
        ],
    );
}

#[test]
fn inner_exceptions_of_dotnet_have_their_own_frames() {
    assert_chain(
        "System.InvalidOperationException: outer\n ---> System.IO.IOException: middle\n ---> System.Exception: inner\n   \
         at X.Inner(String s) in /src/c.cs:line 1\n   --- End of inner exception stack trace ---\n   \
         at X.Middle() in /src/b.cs:line 2\n   --- End of inner exception stack trace ---\n   \
         at X.Outer() in /src/a.cs:line 3\n   at X.Main(String[] args)\n",
        &[
            ("System.InvalidOperationException", "outer", 2, "/src/a.cs"),
            ("System.IO.IOException", "middle", 1, "/src/b.cs"),
            ("System.Exception", "inner", 1, "/src/c.cs"),
        ],
    );
    assert_chain(
        "A: outer ---> B: inner\n   at X.Inner()\n   --- End of inner exception stack trace ---\n   at X.Outer()\n   at X.Main()\n",
        &[("A", "outer", 2, ""), ("B", "inner", 1, "")],
    );
    assert_chain(
        "System.AggregateException: Two. (one) (two)\n ---> A: one\n   at X.One() in /1.cs:line 1\n   \
         --- End of inner exception stack trace ---\n   at X.All() in /0.cs:line 9\n ---> (Inner Exception #1) B: two\n   \
         at X.Two() in /2.cs:line 2<---\n\n",
        &[
            ("System.AggregateException", "Two. (one) (two)", 1, "/0.cs"),
            ("A", "one", 1, "/1.cs"),
            ("B", "two", 1, "/2.cs"),
        ],
    );
}

#[test]
fn of_python_the_last_exception_is_the_outermost_and_members_of_a_group_follow_it() {
    assert_chain(
        "Traceback (most recent call last):\n  File \"/var/task/a.py\", line 3, in read\n    f()\nOSError: disk\n\n\
         During handling of the above exception, another exception occurred:\n\n\
         Traceback (most recent call last):\n  File \"/var/task/app.py\", line 9, in handler\n    read()\n    ~~~~^^\n\
         app.Error: no order\n",
        &[
            ("app.Error", "no order", 1, "/var/task/app.py"),
            ("OSError", "disk", 1, "/var/task/a.py"),
        ],
    );
    assert_chain(
        "  + Exception Group Traceback (most recent call last):\n  |   File \"/a.py\", line 9, in f\n  |     raise g\n  \
         | ExceptionGroup: two failed (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n    \
         | Traceback (most recent call last):\n    |   File \"/b.py\", line 3, in g\n    |     h()\n    \
         |   File \"/c.py\", line 4, in h\n    |     raise ValueError(1)\n    | ValueError: 1\n    \
         +---------------- 2 ----------------\n    | TypeError: 2\n    +------------------------------------\n",
        &[
            ("ExceptionGroup", "two failed (2 sub-exceptions)", 1, "/a.py"),
            ("ValueError", "1", 2, "/c.py"),
            ("TypeError", "2", 0, ""),
        ],
    );
}

#[test]
fn go_ruby_and_php() {
    let go = "goroutine 1 [running]:\nmain.(*T).handler(0xc0000b2000, {0x1, 0x2})\n\t/var/task/main.go:12 +0x1d\n\
              main.main()\n\t/var/task/main.go:30 +0x25\ncreated by net/http.(*Server).Serve in goroutine 7\n\t\
              /usr/local/go/src/net/http/server.go:3285 +0x4b4\n\ngoroutine 2 [select]:\nmain.other()\n\t/var/task/x.go:1 +0x1\n";
    assert_frames(
        go,
        &[
            ("/var/task/main.go", 12, "main.(*T).handler"),
            ("/var/task/main.go", 30, "main.main"),
            ("/usr/local/go/src/net/http/server.go", 3285, "net/http.(*Server).Serve"),
        ],
    );
    let ours: Vec<_> = frames(go).iter().map(StackFrame::is_ours).collect();
    assert_eq!(ours, [true, true, false]);
    assert_chain(
        "*errors.errorString: no order\nmain.f\n\t/var/task/a.go:1\nmain.main\n\t/var/task/b.go:2\n",
        &[("*errors.errorString", "no order", 2, "/var/task/a.go")],
    );
    assert_chain(
        "/var/task/a.rb:3:in `f': no order (KeyError)\n\tfrom /var/task/b.rb:9:in 'Object#g'\n\
         /var/task/c.rb:1:in `h': disk (full) (IOError)\n\tfrom /var/task/d.rb:2:in `block in i'\n",
        &[
            ("KeyError", "no order", 2, "/var/task/a.rb"),
            ("IOError", "disk (full)", 2, "/var/task/c.rb"),
        ],
    );
    assert_frames(
        "/var/task/a.rb:3:in `f'\n/var/task/b.rb:9:in `<main>'\n",
        &[("/var/task/a.rb", 3, "f"), ("/var/task/b.rb", 9, "<main>")],
    );
    assert_chain(
        "PHP Fatal error:  Uncaught RuntimeException: disk in /var/task/a.php:5\nStack trace:\n\
         #0 /var/task/b.php(12): A->f('secret')\n#1 [internal function]: g()\n#2 {main}\n\n\
         Next LogicException: no order in /var/task/c.php:9\nStack trace:\n#0 /var/task/d.php(1): h()\n#1 {main}\n",
        &[
            ("LogicException", "no order", 2, "/var/task/c.php"),
            ("RuntimeException", "disk", 3, "/var/task/a.php"),
        ],
    );
    assert_frames("#0 /b.php(12): A->f('secret')\n#1 {main}\n", &[("/b.php", 12, "A->f")]);
}

#[test]
fn text_around_a_place_is_not_part_of_it() {
    for (line, expected) in [
        ("at f (/var/task/a.js:1:1) {", ("/var/task/a.js", 1, "f")),
        ("at /var/task/a.js:7:1 {", ("/var/task/a.js", 7, "")),
        ("at async f (file:///var/task/a.mjs:3:9)", ("/var/task/a.mjs", 3, "f")),
        (
            "at new F [as g] (/var/task/copy (1)/a.js:2:2)",
            ("/var/task/copy (1)/a.js", 2, "new F [as g]"),
        ),
        ("at eval (eval at f (/a.js:1:1), <anonymous>:2:3)", ("<anonymous>", 2, "eval")),
        ("at Array.map (<anonymous>)", ("", 0, "Array.map")),
        ("at async Promise.all (index 0)", ("", 0, "Promise.all")),
        ("at app.A.b(A.java:12) [app.jar!/:1.0]", ("A.java", 12, "app.A.b")),
        ("at app.A.b(A.kt)", ("A.kt", 0, "app.A.b")),
        ("at app.A.b(Unknown Source)", ("", 0, "app.A.b")),
        ("at X.F(String s, Int32 i)", ("", 0, "X.F(String s, Int32 i)")),
        ("at X.F(String s) in C:\\src\\a b.cs:line 12 ", ("C:\\src\\a b.cs", 12, "X.F(String s)")),
    ] {
        assert_frames(line, &[expected]);
    }
}

#[test]
fn text_of_no_known_form_is_one_exception_without_frames() {
    assert_chain("E: somewhere\n~~> here\n", &[("E", "somewhere\n~~> here", 0, "")]);
    assert_chain("", &[("", "", 0, "")]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(
        lines in proptest::collection::vec(proptest::sample::select(&[
            "at f (a.js:1:1)", "at )(", "at (", "Caused by: E", " ---> ", "--- End of inner", "x<---", "[errors]: [",
            "  | ", "+-+-- 1 --", "Traceback (most recent call last):", "  File \"a\", line 1, in é", "#0 a(1): f(",
            "#1 {main}", "Next ", "Stack trace:", "\ta.go:1", "f()", "a:1:in `f': é ()", "Suppressed: ", "1: é", "",
            "During handling of the above exception, another exception occurred:", "goroutine 1 [x]:",
        ][..]), 0..12)
    ) {
        let found = exceptions(&lines.join("\n")).len();
        proptest::prop_assert!(found <= 1 + 2 * lines.len());
    }
}
