/*
 * typing.c
 *	  Types of paths into jsonb facts, found in the raw tree.
 *
 * Before PostgreSQL analyses an expression, each path whose place tells its
 * type becomes a parameter symbol, whose number is that of a slot of this type.
 * Where the place tells nothing, as in the arguments of a function, a path is
 * left as it is and is jsonb.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parse_expr.h"
#include "parser/parse_type.h"
#include "utils/lsyscache.h"

#include "frame_private.h"

typedef struct SfTyping
{
	SfFrame    *frame;
	ParseState *pstate;
} SfTyping;

static bool
is_json_path(SfTyping *typing, Node *node, SfName *name)
{
	char	  **parts;
	int			nparts;

	if (node == NULL || !IsA(node, ColumnRef))
		return false;
	nparts = sf_frame_split((ColumnRef *) node, &parts);
	if (nparts < 2)
		return false;
	for (int i = 0; i < typing->frame->nfacts; i++)
		if (typing->frame->facts[i].is_json && strcmp(typing->frame->facts[i].name, parts[0]) == 0)
			return sf_frame_resolve(typing->frame, parts, nparts, typing->frame->nfacts, 0, name);
	return false;
}

/* if the node is a path, it is of this type */
static void
give_type(SfTyping *typing, Node **node, Oid type)
{
	SfName		name;
	ParamRef   *pref;

	if (!is_json_path(typing, *node, &name))
		return;
	pref = makeNode(ParamRef);
	pref->number = sf_frame_slot(typing->frame, &name, type) + 1;
	pref->location = ((ColumnRef *) *node)->location;
	*node = (Node *) pref;
}

/* tells no type */
static bool
is_null_constant(Node *node)
{
	return IsA(node, A_Const) && ((A_Const *) node)->isnull;
}

/* the type that a path has beside this operand */
static Oid
type_beside(SfTyping *typing, Node *operand)
{
	Oid			type;

	if (IsA(operand, A_Const))
	{
		A_Const    *constant = (A_Const *) operand;

		if (constant->isnull)
			return TEXTOID;
		switch (nodeTag(&constant->val))
		{
			case T_Integer:
			case T_Float:
				return NUMERICOID;
			case T_Boolean:
				return BOOLOID;
			default:
				return TEXTOID;
		}
	}
	type = exprType(transformExpr(typing->pstate, copyObject(operand), EXPR_KIND_OTHER));
	switch (TypeCategory(type))
	{
		case TYPCATEGORY_NUMERIC:
			return NUMERICOID;
		case TYPCATEGORY_STRING:
		case TYPCATEGORY_UNKNOWN:
			return TEXTOID;
		default:
			return type;
	}
}

/* operators that jsonb itself has */
static bool
is_json_operator(List *name)
{
	static const char *const operators[] = {
		"->", "->>", "#>", "#>>", "@>", "<@", "?", "?|", "?&", "@?", "@@", "#-"
	};
	const char *op = strVal(llast(name));

	for (int i = 0; i < lengthof(operators); i++)
		if (strcmp(op, operators[i]) == 0)
			return true;
	return false;
}

/* the type of two paths that an operator joins: they are compared as they are */
static Oid
type_of_both(List *name)
{
	const char *op = strVal(llast(name));

	if (strcmp(op, "||") == 0)
		return TEXTOID;
	return strlen(op) == 1 && strchr("+-*/%^", op[0]) != NULL ? NUMERICOID : JSONBOID;
}

/* IN and BETWEEN: the paths take the type of the first operand that is none */
static void
type_list(A_Expr *expr, SfTyping *typing)
{
	List	   *list = castNode(List, expr->rexpr);
	SfName		name;
	bool		found = is_json_path(typing, expr->lexpr, &name);
	Node	   *other = found ? NULL : expr->lexpr;
	Oid			type;
	ListCell   *lc;

	foreach(lc, list)
	{
		if (is_json_path(typing, lfirst(lc), &name))
			found = true;
		else if (other == NULL || is_null_constant(other))
			other = lfirst(lc);
	}
	if (!found)
		return;
	type = other != NULL ? type_beside(typing, other) : JSONBOID;
	give_type(typing, &expr->lexpr, type);
	foreach(lc, list)
		give_type(typing, (Node **) &lfirst(lc), type);
}

static void
type_operands(A_Expr *expr, SfTyping *typing)
{
	Node	   *beside = expr->rexpr;
	SfName		name;
	bool		left = is_json_path(typing, expr->lexpr, &name);
	bool		right = is_json_path(typing, expr->rexpr, &name);

	if (beside != NULL && IsA(beside, List))
	{
		type_list(expr, typing);
		return;
	}
	if (!left && !right)
		return;
	switch (expr->kind)
	{
		case AEXPR_OP:
		case AEXPR_DISTINCT:
		case AEXPR_NOT_DISTINCT:
		case AEXPR_NULLIF:
			if (is_json_operator(expr->name))
				return;
			if (left && right)
			{
				Oid			type = type_of_both(expr->name);

				give_type(typing, &expr->lexpr, type);
				give_type(typing, &expr->rexpr, type);
			}
			else if (left)
				give_type(typing, &expr->lexpr, type_beside(typing, expr->rexpr));
			else
				/* alone: behind a sign */
				give_type(typing, &expr->rexpr, expr->lexpr == NULL ? NUMERICOID :
						  type_beside(typing, expr->lexpr));
			return;
		case AEXPR_LIKE:
		case AEXPR_ILIKE:
		case AEXPR_SIMILAR:
			give_type(typing, &expr->lexpr, TEXTOID);
			give_type(typing, &expr->rexpr, TEXTOID);
			return;
		case AEXPR_IN:
		case AEXPR_BETWEEN:
		case AEXPR_NOT_BETWEEN:
		case AEXPR_BETWEEN_SYM:
		case AEXPR_NOT_BETWEEN_SYM:
			return;				/* their operands are a list */
		case AEXPR_OP_ANY:
		case AEXPR_OP_ALL:
			if (left)
			{
				Oid			array = exprType(transformExpr(typing->pstate, copyObject(beside),
														   EXPR_KIND_OTHER));
				Oid			element = get_element_type(array);

				give_type(typing, &expr->lexpr, OidIsValid(element) ? element : TEXTOID);
			}
			return;
	}
}

static void
type_cast(TypeCast *cast, SfTyping *typing)
{
	SfName		name;

	if (is_json_path(typing, cast->arg, &name))
		give_type(typing, &cast->arg, typenameTypeId(typing->pstate, cast->typeName));
}

/*
 * Walks the tree and types its paths where the place says how.  A condition is
 * boolean, and so is each part of an AND, OR and NOT.
 */
static bool
type_paths(Node *node, SfTyping *typing)
{
	ListCell   *lc;

	if (node == NULL)
		return false;
	check_stack_depth();
	/* what is inside first: an operand's type can be asked for when it is done */
	if (raw_expression_tree_walker(node, type_paths, typing))
		return true;
	switch (nodeTag(node))
	{
		case T_A_Expr:
			type_operands((A_Expr *) node, typing);
			break;
		case T_BoolExpr:
			foreach(lc, ((BoolExpr *) node)->args)
				give_type(typing, (Node **) &lfirst(lc), BOOLOID);
			break;
		case T_BooleanTest:
			give_type(typing, (Node **) &((BooleanTest *) node)->arg, BOOLOID);
			break;
		case T_NullTest:
			give_type(typing, (Node **) &((NullTest *) node)->arg, TEXTOID);
			break;
		case T_CaseExpr:
			/* the walker does not come by its branches themselves */
			foreach(lc, ((CaseExpr *) node)->arg == NULL ? ((CaseExpr *) node)->args : NIL)
				give_type(typing, (Node **) &lfirst_node(CaseWhen, lc)->expr, BOOLOID);
			break;
		case T_TypeCast:
			type_cast((TypeCast *) node, typing);
			break;
		default:
			break;
	}
	return false;
}

void
sf_typing_paths(SfFrame *frame, ParseState *pstate, Node **raw, Oid target)
{
	SfTyping	typing = {frame, pstate};

	if (OidIsValid(target) && target != JSONBOID)
		give_type(&typing, raw, target);
	(void) type_paths(*raw, &typing);
}
