#!/usr/bin/env bash
# Installs what the client programs need into .work, with the languages' own
# package managers, and builds them; --kafka also fetches Apache Kafka, the
# reference broker, and its tools into the user's cache. What is there already
# stays.
set -euo pipefail
cd "$(dirname "$0")"
work=$PWD/.work
kafka=${XDG_CACHE_HOME:-$HOME/.cache}/fanfold
mkdir -p "$work"

# newest_jdk prints the home of the newest JDK that can be found.
newest_jdk() {
  local best=0 home='' dir version
  for dir in "${JAVA_HOME:-}" /usr/lib/jvm/* "$(dirname "$(dirname "$(readlink -f "$(command -v javac || true)")")")"; do
    [ -n "$dir" ] && [ -x "$dir/bin/javac" ] && [ -x "$dir/bin/java" ] || continue
    version=$("$dir/bin/javac" -version 2>&1 | sed -E 's/^javac ([0-9]+).*/\1/')
    [ "$version" -gt "$best" ] 2>/dev/null && best=$version home=$dir
  done
  [ "$best" -ge 17 ] && echo "$home"
}

jdk=$(newest_jdk || true)
missing=()
[ -n "$jdk" ] || missing+=('a JDK, 17 or newer (JAVA_HOME or /usr/lib/jvm)')
for tool in go mvn node npm python3; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
if command -v python3 >/dev/null && ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
  missing+=("python3's venv and ensurepip")
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "interop/setup.sh: these are missing and must be installed first:" >&2
  printf '  %s\n' "${missing[@]}" >&2
  exit 1
fi

# once NAME FILE... -- COMMAND... runs the command unless it already succeeded
# with the same files.
once() {
  local name=$1 files=() sum
  shift
  while [ "$1" != -- ]; do files+=("$1"); shift; done
  shift
  sum=$(cat "${files[@]}" | cksum)
  if [ "$(cat "$work/$name.done" 2>/dev/null)" = "$sum" ]; then return; fi
  echo "setup: $name"
  rm -f "$work/$name.done"
  "$@" || { echo "interop/setup.sh: $name failed" >&2; exit 1; }
  echo "$sum" >"$work/$name.done"
}

python_client() {
  rm -rf "$work/venv"
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: -r clients/python/requirements.txt
}

js_client() {
  mkdir -p "$work/js"
  cp clients/js/package.json clients/js/package-lock.json "$work/js/"
  (cd "$work/js" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
}

jars() { # POM DIR
  rm -rf "$2"
  mvn -q -B -Dstyle.color=never -f "$1" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$2"
}

java_classes() {
  rm -rf "$work/java-classes"
  "$jdk/bin/javac" --release 17 -d "$work/java-classes" -cp "$work/java-lib/*" clients/java/*.java
}

echo "$jdk" >"$work/jdk"
once python clients/python/requirements.txt -- python_client
once js clients/js/package.json clients/js/package-lock.json -- js_client
cp clients/js/*.mjs "$work/js/"
once java-jars clients/java/pom.xml -- jars clients/java/pom.xml "$work/java-lib"
once java clients/java/*.java clients/java/pom.xml -- java_classes
go build -o "$work/bin/" ./clients/...

# cached POM DIR copies a POM's jars to DIR/lib unless they are there.
cached() {
  local wanted
  wanted=$(cksum <"$1")
  if [ "$(cat "$2/done" 2>/dev/null)" = "$wanted" ]; then return; fi
  echo "setup: Apache Kafka into $2"
  mkdir -p "$2"
  rm -f "$2/done"
  jars "$1" "$2/lib"
  echo "$wanted" >"$2/done"
}

if [ "${1:-}" = --kafka ]; then
  cached broker/kafka/pom.xml "$kafka/kafka-4.4.0"
  cached broker/tools/pom.xml "$kafka/kafka-tools-4.3.1"
fi
