-- Conditions and actions in MVEL and SpEL become SQL of the same meaning, or
-- are refused with the place in the text.
\pset format unaligned
\pset tuples_only on
CREATE FUNCTION pg_temp.mvel(t text) RETURNS text LANGUAGE sql AS $$ SELECT sopflow.convert_expression(t, 'mvel') $$;
CREATE FUNCTION pg_temp.spel(t text) RETURNS text LANGUAGE sql AS $$ SELECT sopflow.convert_expression(t, 'spel') $$;
-- the value of a converted text without names
CREATE FUNCTION pg_temp.value(t text, language text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	v text;
BEGIN
	EXECUTE 'SELECT (' || sopflow.convert_expression(t, language) || ')::text' INTO v;
	RETURN v;
END $$;

-- What the published rule sets write.
SELECT pg_temp.mvel('student.getGrade() <= 3');
SELECT pg_temp.mvel('student.getGender().equals("girl")');
SELECT pg_temp.mvel('!student.getIsStrong()');
SELECT pg_temp.mvel('person.isAdult() == false');
SELECT pg_temp.mvel('person.age > 18');
SELECT pg_temp.mvel('rain == true');
SELECT pg_temp.spel('#{ [''person''].age > 18 }');
SELECT pg_temp.spel('#{ [''rain''] == true }');
SELECT pg_temp.spel('#context.getOpportunityStatus() == T(com.enums.OpportunityStatusEnum).TASK && #context.getOperationTypeEnum() == T(com.OpportunityOperationTypeEnum).TASK_BACK_PUBLIC');
SELECT pg_temp.spel('@opportunityUnbindRuleBll.checkOpportunityNeedFreeze(#context.getOpportunityId(), n,m)');
SELECT pg_temp.spel('true');

-- Names: as SQL writes them, quoted where SQL needs it.
SELECT pg_temp.mvel('leadInfo.getHTTPStatus() == a1.lastURL2Path');
SELECT pg_temp.mvel('user.order == 1 && new.status != old.status');
SELECT pg_temp.mvel(U&'\5b66\751f.\5e74\7ea7 > 3');
SELECT pg_temp.mvel('a.getB().getC() > 0 && a.b.isC()');
SELECT pg_temp.spel('#leadInfo == [''leadInfo'']');

-- Operators bind as they do in the source, whatever SQL does.
SELECT pg_temp.mvel('a || b && !c');
SELECT pg_temp.mvel('(a || b) && c || !(d && e)');
SELECT pg_temp.mvel('!a == b');
SELECT pg_temp.mvel('!(a == b)');
SELECT pg_temp.mvel('!!a');
SELECT pg_temp.mvel('(a == b) == (c < d)');
SELECT pg_temp.mvel('1 - (2 - 3) - -4 * (5 + 6) % 7');
SELECT pg_temp.mvel('-(-a) + - b');
SELECT pg_temp.mvel('(a and b) or not c');
SELECT pg_temp.spel('#a EQ 1 And #b ne 2 OR not #c lt 3 and #d div 2 ge #e mod 2 and #f le 1 and #g gt 2');
SELECT pg_temp.mvel('a ? b : c ? d : e');
SELECT pg_temp.mvel('(a > 1 ? "x" : null) == "x"');
SELECT pg_temp.value('1 - (2 - 3) - -4 * (5 + 6) % 7', 'mvel'), 1 - (2 - 3) - -4 * (5 + 6) % 7;
SELECT pg_temp.value('2 + 3 * 4 == 14 && !(1 > 2) ? "yes" : "no"', 'mvel');

-- Nulls.
SELECT pg_temp.mvel('a == null && null != b.c || a + 1 == null');
SELECT pg_temp.spel('#a == NULL and #b != Null');
SELECT pg_temp.mvel('nil == (a == b)');
SELECT pg_temp.mvel('null == null');

-- Numbers: MVEL divides whole numbers into fractions, SpEL does not.
SELECT pg_temp.mvel('10L + 1.5f - 2d + 3B * 1e3');
SELECT pg_temp.mvel('a / 2 / b / 1.5'), pg_temp.spel('#a / 2 / #b');
SELECT pg_temp.value('7 / 2', 'mvel')::float8, pg_temp.value('7 / 2', 'spel'), pg_temp.value('-7 % 2', 'mvel');
SELECT pg_temp.value('7 / (1 + 1)', 'mvel')::float8;

-- Strings are values, whatever they hold.
SELECT pg_temp.mvel($$name == "it's" || name == 'say "hi"'$$);
SELECT pg_temp.mvel($$a == "tab\t, quote\"\', back\\ and \u00e9\ud83d\ude00"$$);
SELECT pg_temp.value($$"tab\t, quote\"\', back\\ and \u00e9\ud83d\ude00"$$, 'mvel');
SELECT pg_temp.spel($$#a == 'it''s' and #b == "\n""x"""$$);
SELECT pg_temp.value($$'it''s \n'$$, 'spel');
SELECT pg_temp.mvel($$a == "'; drop table x; --"$$);
SELECT pg_temp.mvel('"a" + b + 1 == "x"');
SELECT pg_temp.mvel('1 + 2 + "x" + (1 + 2)');
SELECT pg_temp.value('1 + 2 + "x" + (1 + 2)', 'mvel');
SELECT pg_temp.value('"" + 1 + 2', 'mvel');

-- Methods of strings and collections.
SELECT pg_temp.mvel('a.equalsIgnoreCase("Girl") && a.b.contains("x") && a.startsWith("y") && a.endsWith("z")');
SELECT pg_temp.mvel('a.name.length() > 3 && tags.size() == 0 && a.name.isEmpty() && !a.isEmpty()');
SELECT pg_temp.mvel('a.toUpperCase() + 1 == ("x" + b).toLowerCase()');
SELECT pg_temp.mvel('"a".equals(b == null ? "x" : b)');
SELECT t, pg_temp.value(t, 'mvel') FROM unnest(ARRAY['"Girl".equalsIgnoreCase("gIRL")', '"abc".contains("b")', '"abc".contains("")', '"abc".contains("d")',
	'"abc".startsWith("ab")', '"a%c".startsWith("a_c")', '"abc".endsWith("bc")', '"abc".endsWith("")', '"abc".endsWith("ab")', '"abc".length() + 1',
	'"".isEmpty()', '" ".isEmpty()', '!"abc".equals("abd")']) t;

-- Refused: what it is and where.
SELECT pg_temp.mvel('student instanceof Student');
\echo :LAST_ERROR_SQLSTATE
SELECT pg_temp.mvel('student.age >');
\echo :LAST_ERROR_SQLSTATE
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE FUNCTION pg_temp.refused(t text, language text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; d text;
BEGIN
	RETURN 'not refused: ' || sopflow.convert_expression(t, language);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ': ' || m || ' ' || d;
END $$;
SELECT t, pg_temp.refused(t, 'mvel') FROM unnest(ARRAY['', '  ', 'a b', 'a = 1', 'a == ', '(a', 'a)', 'a == "x', 'a == ''x\', 'a.', 'a..b', '.a', 'a,b', 'a;b', '#a', '@a.b()',
	'a.compareTo(b)', 'a.getB(1)', 'f(1)', 'new Date()', 'if (a) { b }', 'x in list', 'list contains 3', 'a ~= "x"', 'a & b', 'a ^ 2', 'a ?: b', 'a?.b', 'a[0]', '[1, 2]', '{1}', 'a++', 'a--b', 'a += 1',
	'a < b < c', 'a == b == c', 'null > 1', '1 < null', '!null', 'null && a', 'null + 1', '-null', 'null.a', 'null ? 1 : 2', 'a.equals(null)', 'a.equals()', 'a.equals(1, 2)', 'a.length(1)', '1.5.x', '"a".b', '(a + b).c',
	'Status.TASK == a', 'a ? b', '1.2.3', '12abc', '0x1F', '017', '1e', '"\q"', '"\u12"', '"\u0000"', '"\ud800"', '"a" - 1', 'a == b ;;', 'a == ~b', 'a == 学 生']) t;
SELECT t, pg_temp.refused(t, 'spel') FROM unnest(ARRAY['#this == 1', '#root', '#{a', '#{}', '#{ a } and #{ b }', 'a matches ''x''', 'a between {1, 2}', 'T(Math).max(1, 2)', 'T(A)', 'T(1).B', 'T(A).B.C', '@bean', '@bean.property', '@a.b(1', '@a.b(1,)', '@a.b(1).c', '[0]', '[''a''', '#a[''b'']', '#f(1)', 'nil == a', '''a', '#a instanceof T(String)', '#a.?[true]', '#a; #b', '#a == 1 eq 2']) t;
-- Bounds: nesting and length.
SELECT pg_temp.refused(repeat('(', 90000) || '1', 'mvel') LIKE '54001: stack depth limit exceeded%';
SELECT pg_temp.refused(repeat('!', 99000) || 'a', 'mvel') LIKE '54001: stack depth limit exceeded%';
SELECT pg_temp.refused(repeat('- ', 49000) || 'a', 'mvel') LIKE '54001: stack depth limit exceeded%';
SELECT pg_temp.refused('a == ' || repeat('x', 100000), 'mvel');
SELECT length(pg_temp.mvel('a' || repeat(' && a', 19000)));
SELECT length(pg_temp.mvel('"a"' || repeat('+b', 49000)));
SELECT length(pg_temp.mvel('a' || repeat('.equals(a', 2000) || repeat(')', 2000)));
-- Arguments.
SELECT sopflow.convert_expression('a', 'drools');
SELECT sopflow.convert_expression(NULL, 'mvel');
SELECT sopflow.convert_expression('a', NULL);
SELECT sopflow.convert_expression('a.b = 1 AND x', 'SQL');
SELECT sopflow.convert_expression('a.b = = 1', 'sql');
SELECT sopflow.convert_expression('', 'sql');
SELECT sopflow.convert_expression('1) FROM pg_authid --', 'sql');

-- Actions.
CREATE FUNCTION pg_temp.acts(t text, language text DEFAULT 'mvel') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; d text;
BEGIN
	RETURN sopflow.convert_action(t, language);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL;
	RETURN SQLSTATE || ': ' || m || ' ' || d;
END $$;
SELECT pg_temp.acts('System.out.println("年級-不是好苗子");');
SELECT pg_temp.acts('System.out.println("性別-不是好苗子");student.setIsGoodSeed(false);');
SELECT pg_temp.acts('person.setAdult(true);');
SELECT pg_temp.acts('#{ [''person''].setAdult(true) }', 'spel');
SELECT pg_temp.acts('#{ T(System).out.println("Ship under cover today.") }', 'spel');
SELECT pg_temp.acts('#context.setStatus(T(com.enums.Status).UNBIND); T(java.lang.System).out.print(''x'')', 'spel');
SELECT pg_temp.acts('a.total = a.price * (1 + a.tax); a.getB().setC(null); a.name.last = "it''s"');
SELECT pg_temp.acts('System.out.println("rep " + rep.getName() + ": " + (n + 1) + (a ? "|" : "}}"))');
SELECT pg_temp.acts('System.out.println(student.grade)');
SELECT pg_temp.acts($$System.out.println("{{x}} {" + a + "back\\" + b + "{" )$$);
SELECT pg_temp.acts('System.out.println("a" == b)');
SELECT t, pg_temp.acts(t) FROM unnest(ARRAY['', ';', 'x = 1', 'student.age', 'student.grow(1)', 'student.setAge(1, 2)', 'student.setAge()', 'System.exit(1)', 'System.out.println()', 'System.out.printf("x")', 'System.out.println(null)',
	'if (a) { b.setC(1); }', 'a.setB(1) c.setD(2)', 'a.setB(1);;', 'Foo.bar(1)', 'a.b += 1', 'a.equals(b)', '1', 'a.setB(1).setC(2)', 'new Foo().setB(1)']) t;
SELECT t, pg_temp.acts(t, 'spel') FROM unnest(ARRAY['@clueBll.unbindOpportunity(#context,T(com.Status).UNBIND)', 'T(Foo).bar(1)', 'T(java.util.System).out.println(1)']) t;
SELECT sopflow.convert_action('a.setB(1)', 'sql');
SELECT sopflow.convert_action(NULL, 'mvel');

-- Not for everybody.
CREATE ROLE rule_convert_role;
SET ROLE rule_convert_role;
SELECT sopflow.convert_expression('a', 'mvel');
RESET ROLE;
DROP ROLE rule_convert_role;
