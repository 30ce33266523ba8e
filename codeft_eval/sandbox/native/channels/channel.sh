# Texts between a Bash judge and a Bash candidate, which are two processes: descriptor 3 is read, descriptor 4 written.

trap 'builtin exit 70' USR1 # CLOSED in grading.py

codeft_call() {
  local codeft_output codeft_status
  builtin printf '%s\0' "$#" "$@" >&4
  if IFS= builtin read -r -d '' -u 3 codeft_output && IFS= builtin read -r -d '' -u 3 codeft_status; then
    builtin printf '\006' >&2 # ANSWERED in grading.py
    builtin printf '%s' "$codeft_output"
    return "$codeft_status"
  fi
  builtin kill -s USR1 "$$"
}

codeft_serve() {
  local codeft_rest codeft_argument codeft_arguments codeft_output
  while IFS= builtin read -r -d '' -u 3 codeft_rest; do
    codeft_arguments=()
    for (( ; codeft_rest > 0; codeft_rest--)); do
      IFS= builtin read -r -d '' -u 3 codeft_argument
      codeft_arguments+=("$codeft_argument")
    done
    codeft_output=$("$1" "${codeft_arguments[@]}" 3<&- 4>&-)
    builtin printf '%s\0%s\0' "$codeft_output" "$?" >&4
  done
}
