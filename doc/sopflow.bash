# Completion of the program sopflow for bash.
# Commands and options are those that the program's own help names.

_sopflow()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev='' command='' i
	local value_options='-d --dbname -h --host -p --port -U --username' connection=()
	COMPREPLY=()
	[ "$COMP_CWORD" -gt 0 ] && prev=${COMP_WORDS[COMP_CWORD - 1]}

	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ " $value_options " == *" ${COMP_WORDS[i]} "* ]]; then
			connection+=("${COMP_WORDS[i]}")
			[[ ${COMP_WORDS[i + 1]:-} != '=' ]] || i=$((i + 1))
			i=$((i + 1))
			connection+=("${COMP_WORDS[i]}")
		elif [[ -z $command && ${COMP_WORDS[i]} != -* && ${COMP_WORDS[i]} != '=' ]]; then
			command=${COMP_WORDS[i]}
		fi
	done

	# "--format=" is one word and its value another, by COMP_WORDBREAKS
	if [ "$cur" = = ]; then
		cur=''
	elif [ "$prev" = = ] && [ "$COMP_CWORD" -gt 1 ]; then
		prev=${COMP_WORDS[COMP_CWORD - 2]}
	fi

	case $prev in
		-d | --dbname)
			mapfile -t COMPREPLY < <(compgen -W "$(psql -XAtqwc 'SELECT datname FROM pg_catalog.pg_database WHERE datallowconn' postgres 2>/dev/null)" -- "$cur")
			return ;;
		--format)
			if [ "$command" = diagram ]; then
				mapfile -t COMPREPLY < <(compgen -W 'mermaid dot' -- "$cur")
			else
				mapfile -t COMPREPLY < <(compgen -W 'yaml json' -- "$cur")
			fi
			return ;;
		--config)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return ;;
	esac

	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(sopflow ${command:+"$command"} --help 2>/dev/null |
			sed -n 's/^ *\(-[A-Za-z], \)\{0,1\}\(--[a-z-]*=\{0,1\}\).*/\2/p')" -- "$cur")
		[[ ${COMPREPLY[0]:-} == *= ]] && compopt -o nospace
		return
	fi
	case $command in
		'')
			mapfile -t COMPREPLY < <(compgen -W "$(sopflow --help 2>/dev/null |
				sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')" -- "$cur") ;;
		load | validate)
			mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
		export | diagram | simulate)
			mapfile -t COMPREPLY < <(compgen -W "$(psql "${connection[@]}" -XAtqwc 'SELECT sop_id FROM sopflow.sops' 2>/dev/null)" -- "$cur") ;;
	esac
}

complete -o default -F _sopflow sopflow
