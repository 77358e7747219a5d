# Ends, or signals, the processes of sessions. Arguments: the sessions' tokens. For each signal name on a line of
# standard input it prints how many processes there are and sends them the signal, until EXIT. When input ends without
# it, whoever asked is gone: the rest is killed. Needs /proc and the shell's own words; grep and tr make it exact where
# there is no bash, because the read of other shells drops the NULs between variables.
LC_ALL=C
patterns=
for token; do patterns="$patterns -e OCTOPUS_SESSION=$token"; done

if printf 'a\000b\000' 2>/dev/null | grep -qzxF b 2>/dev/null; then how=zero
elif printf 'a\000b\000' 2>/dev/null | tr '\000' '\n' 2>/dev/null | grep -qxF b 2>/dev/null; then how=tr
elif [ -n "$BASH_VERSION" ]; then how=bash
else how=sh
fi

in_bash() {
    while IFS= read -r -d '' entry; do
        for token; do [ "$entry" = "OCTOPUS_SESSION=$token" ] && return 0; done
    done
    return 1
}

in_sh() {
    while IFS= read -r entry || [ -n "$entry" ]; do
        for token; do case $entry in *"OCTOPUS_SESSION=$token"*) return 0 ;; esac; done
    done
    return 1
}

marked() {
    case $how in
    zero) grep -lzxF $patterns /proc/[0-9]*/environ 2>/dev/null ;;
    *)
        for file in /proc/[0-9]*/environ; do
            case $how in
            tr) tr '\000' '\n' 2>/dev/null <"$file" | grep -qxF $patterns ;;
            bash) in_bash "$@" <"$file" ;;
            sh) in_sh "$@" <"$file" ;;
            esac 2>/dev/null && echo "$file"
        done
        ;;
    esac
}

stat_of() { # sets state and session of process $1
    state= session=
    IFS= read -r line 2>/dev/null <"/proc/$1/stat" || return 1
    set -- ${line##*) }
    state=$1 session=$4
}

found() { # sets pids: those marked, and all of the process sessions these are in (a child may clear its environment)
    pids= sessions=' '
    for file in $(marked "$@"); do
        pid=${file#/proc/} pid=${pid%/environ}
        stat_of "$pid" || continue
        case $session in 0 | "$own" | '') ;; *) sessions="$sessions$session " ;; esac
        case $state in Z | X | '') ;; *) pids="$pids $pid" ;; esac
    done
    for file in /proc/[0-9]*; do
        pid=${file#/proc/}
        stat_of "$pid" || continue
        case $state in Z | X | '') continue ;; esac
        case $sessions in *" $session "*) ;; *) continue ;; esac
        case "$pids " in *" $pid "*) ;; *) pids="$pids $pid" ;; esac
    done
}

sweep() { # $1 the signal, then the tokens
    signal=$1
    shift
    found "$@"
    count=0
    for pid in $pids; do
        count=$((count + 1))
        kill -s "$signal" "$pid" 2>/dev/null
        case $signal in HUP | TERM) kill -s CONT "$pid" 2>/dev/null ;; esac
    done
}

stat_of $$
own=$session
while read -r line; do
    [ "$line" = EXIT ] && exit 0
    sweep "$line" "$@"
    echo "$count"
done
sweep KILL "$@"
sweep KILL "$@"
