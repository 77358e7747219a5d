# Connects standard input and output to a port on this container's loopback. Arguments: the port, the same as four
# hexadecimal digits, and the session's token. Says R, then passes bytes. Exits 111 where nothing listens, 127 where
# nothing here can connect. Only socat and nc pass the end of input on; through bash it is kept back.
address=
for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r "$table" ] || continue
    while read -r _ local _ state _; do
        case "$local $state" in # 0A is LISTEN; tcp6: any, IPv4's loopback, IPv6's
        "00000000:$2 0A" | "0100007F:$2 0A") address=127.0.0.1 ;;
        "00000000000000000000000000000000:$2 0A" | "0000000000000000FFFF00000100007F:$2 0A") address=127.0.0.1 ;;
        "00000000000000000000000001000000:$2 0A") address=${address:-::1} ;;
        esac
    done <"$table"
done
[ -n "$address" ] || exit 111

# This shell is found by its connection's token, what it starts by its session's too: each can be ended alone, or all.
OCTOPUS_SESSION=$3
export OCTOPUS_SESSION

if command -v socat >/dev/null 2>&1; then
    case $address in *:*) to="TCP6:[$address]:$1" ;; *) to="TCP4:$address:$1" ;; esac
    printf R
    socat -t 86400 STDIO "$to"
elif command -v nc >/dev/null 2>&1; then
    half=
    case $(nc -h 2>&1 </dev/null) in *BusyBox* | *Ncat*) ;; *-N*) half=-N ;; esac
    printf R
    nc $half "$address" "$1"
elif command -v bash >/dev/null 2>&1 && command -v cat >/dev/null 2>&1; then
    bash -c 'exec 3<>"/dev/tcp/$0/$1" 4<&0 || exit 111; printf R; cat <&4 >&3 & cat <&3; kill $!' "$address" "$1"
else
    exit 127
fi
exit $?
