#!/usr/bin/env bash
# A chat in 30 lines, with nothing but bash, nc and jq:  bash chat.sh NAME PARTNER HOST:PORT [HOST:PORT ...]
#
# PARTNER is whom to call, or - to wait for a call. Each line that is typed is a message; an empty one or Ctrl-D ends.
# This program acknowledges what it has shown. When its node dies it goes on at the next: same name, same chat, nothing
# lost, nothing twice. What is said here is in docs/protocol.md, "JSON dialect".

unset token chat && set -a # everything goes into the environment, where jq finds it
me=$1 partner=$2 nodes=("${@:3}") sent=0 last=0 unsettled=() # unsettled: the frames of what we said, by their ids
trap '' PIPE && trap 'kill "$nc" 2>/dev/null' EXIT           # that a connection is lost is noticed by reading

tell() { told=$(jq -nc "env | (.sent, .last) |= tonumber | $1") && echo "$told" >&"$to_node"; }

say() { # what was typed; an empty line is the end
  if read -r text; [[ $text ]]; then ((++sent)); tell '{type: "msg", id: .sent, chat, text}'; unsettled[sent]=$told
  else typing=''; tell '{type: "quit"}'; fi
}

hear() { # one frame, whose fields become variables; fails where another connection may help
  eval "$(jq -r '{type, id, from, to, text, code, message, token, chat} | to_entries[] | select(.value) |
    "\(.key)=\(.value | tostring | gsub("[\\p{C}\\p{Zl}\\p{Zp}]"; "?") | @sh)"' <<<"$1")"
  case $type in
    welcome) [[ ${chat-} || $partner == - ]] || tell '{type: "to", name: .partner}' ;;
    msg) echo "$from: $text" && last=$id && tell '{type: "ack", id: .last}' ;;
    ack) for said in "${!unsettled[@]}"; do ((said > id)) || unset "unsettled[said]"; done ;;
    unconfirmed) for ((; from <= to; from++)); do
      [[ ! ${unsettled[from]-} ]] || echo "* lost: $(jq -r .text <<<"${unsettled[from]}")"; unset "unsettled[from]"
    done ;;
    left) tell '{type: "quit"}' ;;
    error) [[ $code != unavailable ]] && echo "$message" >&2 && exit 1 ;;
    bye) exit 0 ;;
  esac
}

while coproc { sleep 0.2 && exec nc "${nodes[0]%:*}" "${nodes[0]##*:}" 2>/dev/null; }; do
  nc=$COPROC_PID typing=yes silence=0 frame='' && exec {from_node}<&"${COPROC[0]}" {to_node}>&"${COPROC[1]}"
  tell '{type: "hello", name: .me, acks: true, token, chat, sent, last}'
  for said in "${unsettled[@]}"; do echo "$said" >&"$to_node"; done
  while ((silence++ < 40)); do # until the connection is lost, or silent for four seconds
    if IFS= read -r -t 0.1 -u "$from_node" part; then hear "$frame$part" && frame='' silence=0 || break
    elif (($? == 1)); then break
    else frame+=$part && ((silence % 20)) || tell '{type: "ping"}'; fi # nothing more yet
    [[ ${chat-} && $typing ]] && ((${#unsettled[@]} < 16)) && read -r -t 0 && say
  done
  exec {from_node}<&- {to_node}>&- && kill "$nc" 2>/dev/null; wait "$nc"
  nodes=("${nodes[@]:1}" "${nodes[0]}")
done
