# Generated from the help: go test ./cmd/postern/internal/packaging -run Reference -update
_postern() {
    local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command= flags= words= files= word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        if [[ $word != -* ]]; then
            command=$word
            break
        fi
    done
    case $command in
        '')
            flags="" words="serve demo config doctor status top reload upgrade health check incident report explain block allow release forget observe enforce decisions learn key munin version help" files=""
            ;;
        demo)
            flags="-attack -gateways" words="" files=""
            ;;
        config)
            flags="-json -markdown" words="POSTERN_IMAP_LISTEN POSTERN_IMAPS_LISTEN POSTERN_POP3_LISTEN POSTERN_POP3S_LISTEN POSTERN_SIEVE_LISTEN POSTERN_PROXY_FROM POSTERN_FORWARDED_FROM POSTERN_CLEARTEXT_LOGIN POSTERN_IMAP_BACKENDS POSTERN_POP3_BACKENDS POSTERN_SIEVE_BACKENDS POSTERN_BACKEND_PROXY POSTERN_BACKEND_TLS POSTERN_BACKEND_TLS_CA POSTERN_BACKEND_TLS_NAME POSTERN_BACKEND_LOGINS POSTERN_TLS_CERT POSTERN_TLS_KEY POSTERN_TLS_MIN POSTERN_TLS_TICKET_KEYS POSTERN_LIMIT_CONNECT POSTERN_LIMIT_OPEN POSTERN_LIMIT_OPEN_PRELOGIN POSTERN_LIMIT_SOURCE POSTERN_LIMIT_NETWORK POSTERN_LIMIT_PAIR POSTERN_LIMIT_ACCOUNT POSTERN_LIMIT_GLOBAL POSTERN_KNOWN_SHARE POSTERN_REPEAT_TTL POSTERN_KNOWN_TTL POSTERN_MODE POSTERN_EXEMPT POSTERN_TABLE_MAX POSTERN_TRIES POSTERN_MAX_CONNECTIONS POSTERN_TARPIT_MAX POSTERN_TARPIT_SOURCE POSTERN_TARPIT_NETWORK POSTERN_TARPIT_TOTAL POSTERN_STATE_DIR POSTERN_SHARE_URL POSTERN_SHARE_CA POSTERN_SHARE_CERT POSTERN_SHARE_KEY POSTERN_SHARE_PASSWORD_FILE POSTERN_KEY_FILE POSTERN_GATEWAY POSTERN_ALERTMANAGER_URL POSTERN_WEBHOOK_URL POSTERN_STATUS_DIR POSTERN_STATUS_URL POSTERN_STATUS_NAME POSTERN_STATUS_HOLD POSTERN_ASN_FILE POSTERN_NOTICE_URL POSTERN_NOTICE_SECRET_FILE POSTERN_NOTICE_KINDS POSTERN_COUNTRY_FILE POSTERN_ADMIN_LISTEN POSTERN_ADMIN_TOKEN_FILE POSTERN_ADMIN_READ_TOKEN_FILE POSTERN_METRICS_LISTEN POSTERN_POLICY_LISTEN POSTERN_POLICY_TOKEN_FILE POSTERN_LOG_FORMAT POSTERN_LOG_LEVEL POSTERN_LOGIN_TIMEOUT POSTERN_HANDSHAKE_TIMEOUT POSTERN_IDLE_TIMEOUT POSTERN_DRAIN POSTERN_UPGRADE_DRAIN POSTERN_ENV_FILE" files=""
            ;;
        doctor)
            flags="-json -password-file -user" words="" files="-password-file"
            ;;
        status)
            flags="-json" words="" files=""
            ;;
        top)
            flags="-interval -json -once" words="" files=""
            ;;
        check)
            flags="-c -format -t -w" words="" files=""
            ;;
        incident)
            flags="-force -incident -json" words="list show ack note hold publish mitigate reclassify false-alarm resolve open" files=""
            ;;
        report)
            flags="-json -public" words="" files=""
            ;;
        explain)
            flags="-json" words="" files=""
            ;;
        block)
            flags="-comment -for -force -json" words="" files=""
            ;;
        allow)
            flags="-comment -for -force -json" words="" files=""
            ;;
        release)
            flags="-json" words="" files=""
            ;;
        forget)
            flags="-json" words="" files=""
            ;;
        observe)
            flags="-comment -for -json" words="" files=""
            ;;
        enforce)
            flags="-comment -for -json" words="" files=""
            ;;
        decisions)
            flags="-compare -end -format -json" words="" files="-compare"
            ;;
        learn)
            flags="-dry-run -since" words="FILES" files=""
            ;;
        key)
            flags="" words="FILES" files=""
            ;;
        munin)
            flags="" words="autoconf config" files=""
            ;;
    esac
    COMPREPLY=()
    if [[ " $files " = *" $previous "* ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    elif [[ $cur = -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$cur")
    elif [[ $words = FILES ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    else
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
    fi
}
complete -F _postern postern
