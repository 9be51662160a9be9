#!/usr/bin/env bash
# A chat in thirty-odd lines, with nothing but bash, nc and jq:  bash chat.sh NAME PARTNER HOST:PORT [HOST:PORT ...]
#
# PARTNER is whom to call, or - to wait for a call. Each line that is typed is a message; an empty one or Ctrl-D ends.
# This program acknowledges what it has shown. When its node dies it goes on at the next: same name, same chat, nothing
# lost, nothing twice. What is said here is in docs/protocol.md, "JSON dialect".

set -a # everything goes into the environment, where jq finds it
me=$1 partner=$2 nodes=("${@:3}") sent=0 last=0 unsettled=() # unsettled: the frames of what we said, by their ids
trap '' PIPE && trap 'kill "$nc" 2>/dev/null' EXIT           # that a connection is lost is noticed by reading

tell() { told=$(jq -nc "$1") && echo "$told" >&"$to_node"; }

hear() { # one frame; fails where another connection may help
  eval "$(jq -r '@sh "type=\(.type) id=\(.id) from=\(.from) to=\(.to) code=\(.code) secret=\(.token // .chat) text=\(
    .text // .message // "" | gsub("[\\p{C}\\p{Zl}\\p{Zp}]"; "?"))"' <<<"$1")"
  case $type in
    welcome) token=$secret && [[ ${chat-} || $partner == - ]] || tell '{type: "to", name: env.partner}' ;;
    paired) chat=$secret ;;
    msg) echo "$from: $text" && last=$id && tell '{type: "ack", id: (env.last | tonumber)}' ;;
    ack) for said in "${!unsettled[@]}"; do ((said > id)) || unset "unsettled[said]"; done ;;
    unconfirmed) for ((; from <= to; from++)); do echo "* lost: $(jq -r .text <<<"${unsettled[from]}")"; unset "unsettled[from]"; done ;;
    left) tell '{type: "quit"}' ;;
    error) [[ $code != unavailable ]] && echo "$text" >&2 && exit 1 ;;
    bye) exit 0 ;;
  esac
}

chat() { # on one connection, until it is lost, or silent for four seconds
  typing=yes silence=0 frame=''
  tell '{type: "hello", name: env.me, acks: true, token: env.token, chat: env.chat} +
    ({sent: env.sent, last: env.last} | map_values(tonumber))'
  for said in "${unsettled[@]}"; do echo "$said" >&"$to_node"; done
  while ((silence++ < 40)); do
    IFS= read -r -t 0.1 -u "$from_node" part
    case $? in
      0) hear "$frame$part" && frame='' silence=0 || return ;;
      1) return ;;
      *) frame+=$part && ((silence % 20)) || tell '{type: "ping"}' ;; # nothing more yet
    esac
    if [[ ${chat-} && $typing ]] && ((${#unsettled[@]} < 16)) && read -r -t 0; then
      read -r text
      [[ $text ]] || { typing='' && tell '{type: "quit"}' && continue; }
      ((++sent)) && tell '{type: "msg", id: (env.sent | tonumber), chat: env.chat, text: env.text}'
      unsettled[sent]=$told
    fi
  done
}

while coproc { sleep 0.2 && exec nc "${nodes[0]%:*}" "${nodes[0]##*:}" 2>/dev/null; }; do
  nc=$COPROC_PID && exec {from_node}<&"${COPROC[0]}" {to_node}>&"${COPROC[1]}"
  chat
  exec {from_node}<&- {to_node}>&- && kill "$nc" 2>/dev/null
  wait "$nc"
  nodes=("${nodes[@]:1}" "${nodes[0]}")
done
