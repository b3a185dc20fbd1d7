# SPDX-License-Identifier: GPL-2.0-only
# Reads what a part of ci/test printed, and prints for each test that failed the command that plays it alone. For ci/test,
# which sets `part`.

part == "crate" && $1 == "Running" { target = $2 == "unittests" ? "--lib" : "--test " crate_test($2) }
part == "crate" && $1 == "Doc-tests" { target = "--doc" }
# Cargo's own list, at its end: a test binary that crashed has told of no test.
part == "crate" && /^    `--(test [a-z_0-9]+|lib|doc)`$/ {
	gsub(/^ *`|`$/, "")
	if (!($0 in told)) command("ci/test crate " $0)
}
part == "kernel" && $1 == "--" { target = $2; sub(/-[0-9a-f]+$/, "", target) }
/^test .* \.\.\. FAILED$/ {
	name = substr($0, 6, length($0) - 5 - 11)
	sub(/ - should panic$/, "", name)
	told[target] = 1
	if (part == "crate") command("ci/test crate " target " -- --exact " (name ~ /[^A-Za-z0-9_:]/ ? "'" name "'" : name))
	if (part == "kernel") command("ci/test kernel " target, name)
}

$1 != "FAIL" { next }
part == "release" { command("ci/test release " $2, rest(3)) }
part == "openwrt" {
	class = $2
	sub(/:$/, "", class)
	file = ""
	search = "grep -l '^class " class "(' ci/openwrt/test_*.py"
	search | getline file
	close(search)
	gsub(/^.*\/|\.py$/, "", file)
	command("ci/test openwrt" (file == "" ? "" : " " file "." class), rest(3))
}
part == "lab" && /^FAIL  (userspace|kernel) +[a-z0-9-]+ +with / {
	command("make lab SCENARIO=" $3 " WITH=" $5 " WIREGUARD=" $2)
	next
}
part == "lab" { command("ci/test lab", rest(2)) }

function crate_test(path) {
	sub(/^tests\//, "", path)
	sub(/(\/main)?\.rs$/, "", path)
	return path
}

function rest(from, i, words) {
	for (i = from; i <= NF; i++) words = words (i > from ? " " : "") $i
	return words
}

# Once each; `why` tells those apart that one command plays.
function command(line, why) {
	if (why != "") line = line "   # " why
	if (!(line in printed)) print line
	printed[line] = 1
}
