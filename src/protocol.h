/*
 * protocol.h
 *	  Channel names and payload keys that clients see.  Plain C, no server
 *	  header: client programs include it too.
 */
#ifndef SF_PROTOCOL_H
#define SF_PROTOCOL_H

#define SF_PROTOCOL_VERSION		1
#define SF_ALERT_CHANNEL		"sopflow_alert"

/* longest payload that NOTIFY takes, in bytes */
#define SF_PAYLOAD_MAX			7999

#endif							/* SF_PROTOCOL_H */
