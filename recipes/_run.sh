#!/usr/bin/env bash
# What every recipes/<corpus>/run.sh does: trains recipes of a corpus one after the other, then prints one table of them.
# bash recipes/_run.sh CORPUS MODEL,MODEL,... FOLDER [--only MODEL,MODEL] [key=value ...]
set -euo pipefail
corpus=$1 models=$2
shift 2

usage() {
  cat <<EOF
usage: recipes/$corpus/run.sh FOLDER [--only MODEL,MODEL,...] [--skip MODEL,MODEL,...] [key=value ...]

Trains every fold of these recipes on the copy of the corpus in FOLDER, then prints one table of all of them:
  ${models//,/ }
  --only     other models, or fewer: --only egemaps,wavlm_large trains ${corpus}_egemaps and ${corpus}_wavlm_large;
             ser-corpus recipes lists all
  --skip     leave some out: --skip wavlm
  key=value  goes to every ser-train: seeds=5 jobs=2 output=FOLDER data.allow_incomplete=true ...

Names are looked up before anything is trained. It stops at the first error, and prints the table of what is complete then.
Run it again to go on: what is complete is kept. With --dry-run every recipe says first how long it takes.
EOF
}

fail() {
  printf '%s\n' "recipes/$corpus/run.sh: $*" >&2
  exit 2
}

root='' output=runs name='' skip='' overrides=()
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage && exit ;;
    --only) [ $# -gt 1 ] || fail "--only needs models: --only egemaps,wavlm"
      models=$2 && shift ;;
    --only=*) models=${1#*=} ;;
    --skip) [ $# -gt 1 ] || fail "--skip needs models: --skip wavlm"
      skip=$2 && shift ;;
    --skip=*) skip=${1#*=} ;;
    output=* | --output=*) output=${1#*=} overrides+=("$1") ;;
    name=* | --name=*) name=${1#*=} overrides+=("$1") ;;
    -* | *=*) overrides+=("$1") ;;
    *) [ -z "$root" ] || fail "two folders are given, $root and $1. A setting is written as key=value."
      root=$1 ;;
  esac
  shift
done
if [ -z "$root" ]; then
  usage >&2
  fail "where is the corpus? Give its folder."
fi
[ -d "$root" ] || fail "there is no folder $root."
[ -n "${models//,/}" ] || fail "--only needs models: --only egemaps,wavlm"
command -v ser-train >/dev/null || fail "ser-train is not found: activate the environment that ser_toolkit is installed in."

recipes=()
for model in ${models//,/ }; do
  recipes+=("${corpus}_${model#"${corpus}_"}")
done
for model in ${skip//,/ }; do
  left=()
  for recipe in ${recipes[@]+"${recipes[@]}"}; do
    [ "$recipe" = "${corpus}_${model#"${corpus}_"}" ] || left+=("$recipe")
  done
  [ ${#left[@]} -lt ${#recipes[@]} ] || fail "--skip $model: it is none of ${recipes[*]}."
  recipes=(${left[@]+"${left[@]}"})
done
[ ${#recipes[@]} -gt 0 ] || fail "--skip leaves nothing to train."
for recipe in "${recipes[@]}"; do
  ser-corpus recipes "$recipe" >/dev/null || exit 2 # a name that is wrong is said now, not after hours
done

start=$(mktemp)
runs=()
finish() {
  status=$?
  trap - EXIT
  rm -f "$start"
  if [ ${#runs[@]} -gt 0 ]; then
    printf '\n== %s\n' "$([ "$status" -eq 0 ] && echo all recipes || echo "what is complete")"
    ser-report --table "${runs[@]}" || [ "$status" -ne 0 ] || status=$?
  fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
for recipe in "${recipes[@]}"; do
  touch "$start"
  printf '\n== %s\n' "$recipe"
  ser-train "recipe=$recipe" "data.root=$root" ${overrides[@]+"${overrides[@]}"} || {
    status=$?
    echo "recipes/$corpus/run.sh: $recipe failed. Run the same command again to go on, or leave it out with --skip." >&2
    exit $status
  }
  # the run that has just written its report; none after --dry-run
  if [ -d "$output/${name:-$recipe}" ]; then
    while IFS= read -r report; do
      # not -newer: a report of the same tick of the clock is of this call too
      [ "$start" -nt "$report" ] || runs+=("$(dirname -- "$report")")
    done < <(find "$output/${name:-$recipe}" -mindepth 2 -maxdepth 2 -name report.json)
  fi
done
