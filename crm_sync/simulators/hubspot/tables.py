"""HubSpot's properties as tables: data only. catalog.py makes definitions of them.

One line a property: name | label | type | field type | flags | options.
Flags: r read-only value, c calculated, h hidden, o owner, p the portal's own. Options: values separated by blanks, whose labels
are made from them; ``{name}`` stands for a list in catalog.py.
"""

COMMON = """
hs_object_id|Record ID|number|number|r
hs_merged_object_ids|Merged record IDs|enumeration|checkbox|rh
hs_object_source|Record source|enumeration|select|r|API IMPORT CRM_UI INTEGRATION
hs_object_source_id|Record source ID|string|text|r
hubspot_owner_id|Owner|enumeration|select|o
hubspot_owner_assigneddate|Owner assigned date|datetime|date|r
hs_all_owner_ids|All owner IDs|enumeration|checkbox|rh
"""
CONTACTS = """
email|Email|string|text
firstname|First Name|string|text
lastname|Last Name|string|text
phone|Phone Number|string|phonenumber
mobilephone|Mobile Phone Number|string|phonenumber
fax|Fax Number|string|text
jobtitle|Job Title|string|text
salutation|Salutation|string|text
company|Company Name|string|text
website|Website URL|string|text
address|Street Address|string|text
city|City|string|text
state|State/Region|string|text
zip|Postal Code|string|text
country|Country/Region|string|text
date_of_birth|Date of birth|string|text
industry|Industry|string|text
annualrevenue|Annual Revenue|string|text
message|Message|string|textarea
hs_language|Preferred language|enumeration|select||de en es fr it ja ar he
hs_lead_status|Lead Status|enumeration|radio||{lead_status}
lifecyclestage|Lifecycle Stage|enumeration|radio||{lifecycle}
hs_additional_emails|Additional email addresses|enumeration|checkbox|r
hs_calculated_merged_vids|Merged record IDs with timestamps|enumeration|checkbox|rh
hs_email_optout|Unsubscribed from all email|bool|booleancheckbox|r|true false
associatedcompanyid|Primary Associated Company ID|number|number|r
createdate|Create Date|datetime|date|r
lastmodifieddate|Last Modified Date|datetime|date|r
notes_last_updated|Last Activity Date|datetime|date|r
hs_full_name_or_email|Full name or email|string|text|c
hs_email_domain|Email Domain|string|text|c
hs_searchable_calculated_phone_number|Calculated phone number without country code|string|text|ch
hs_searchable_calculated_mobile_number|Calculated mobile number without country code|string|text|ch
"""
COMPANIES = """
name|Company name|string|text
domain|Company Domain Name|string|text
website|Website URL|string|text
phone|Phone Number|string|phonenumber
description|Description|string|textarea
about_us|About Us|string|textarea
industry|Industry|enumeration|select||{industries}
numberofemployees|Number of Employees|number|number
annualrevenue|Annual Revenue|number|number
type|Type|enumeration|select||PROSPECT PARTNER RESELLER VENDOR OTHER
address|Street Address|string|text
city|City|string|text
state|State/Region|string|text
zip|Postal Code|string|text
country|Country/Region|string|text
founded_year|Year Founded|string|text
is_public|Is Public|bool|booleancheckbox||true false
hs_additional_domains|Additional Domains|enumeration|checkbox|r
lifecyclestage|Lifecycle Stage|enumeration|radio||{lifecycle}
createdate|Create Date|datetime|date|r
hs_lastmodifieddate|Last Modified Date|datetime|date|r
notes_last_updated|Last Activity Date|datetime|date|r
hs_parent_company_id|Parent Company|number|number|r
"""
DEALS = """
dealname|Deal Name|string|text
pipeline|Pipeline|enumeration|select||default
dealstage|Deal Stage|enumeration|radio
amount|Amount|number|number
deal_currency_code|Currency|enumeration|select||{currencies}
closedate|Close Date|datetime|date
createdate|Create Date|datetime|date
hs_lastmodifieddate|Last Modified Date|datetime|date|r
notes_last_updated|Last Activity Date|datetime|date|r
dealtype|Deal Type|enumeration|radio||newbusiness existingbusiness
description|Deal Description|string|textarea
hs_priority|Priority|enumeration|select||low medium high
hs_next_step|Next step|string|text
closed_lost_reason|Closed Lost Reason|string|textarea
closed_won_reason|Closed Won Reason|string|textarea
amount_in_home_currency|Amount in company currency|number|number|c
hs_is_closed|Is Deal Closed?|bool|calculation_equation|c|true false
hs_is_closed_won|Is Closed Won|bool|calculation_equation|c|true false
hs_deal_stage_probability|Deal probability|number|number|c
"""
TICKETS = """
subject|Ticket name|string|text
content|Ticket description|string|textarea
hs_pipeline|Pipeline|enumeration|select||0
hs_pipeline_stage|Ticket status|enumeration|select
hs_ticket_priority|Priority|enumeration|select||LOW MEDIUM HIGH URGENT
hs_ticket_category|Category|enumeration|checkbox||PRODUCT_ISSUE BILLING_ISSUE FEATURE_REQUEST GENERAL_INQUIRY
createdate|Create date|datetime|date|r
hs_lastmodifieddate|Last modified date|datetime|date|r
"""
LEADS = """
hs_lead_name|Lead Name|string|text
hs_lead_type|Lead Type|enumeration|select||NEW_BUSINESS RE_ATTEMPT UPSELL
hs_lead_label|Lead Label|enumeration|select||COLD WARM HOT
hs_createdate|Created at|datetime|date|r
hs_lastmodifieddate|Last modified|datetime|date|r
"""
PRODUCTS = """
name|Name|string|text
description|Product description|string|textarea
price|Unit price|number|number
hs_sku|SKU|string|text
hs_cost_of_goods_sold|Unit cost|number|number
hs_url|URL|string|text
createdate|Create Date|datetime|date|r
hs_lastmodifieddate|Last Modified Date|datetime|date|r
"""
LINE_ITEMS = """
name|Name|string|text
description|Description|string|textarea
quantity|Quantity|number|number
price|Unit price|number|number
amount|Net price|number|number|c
discount|Unit discount|number|number
hs_product_id|Product ID|number|number
hs_sku|SKU|string|text
createdate|Create Date|datetime|date|r
hs_lastmodifieddate|Last Modified Date|datetime|date|r
"""
ACTIVITY = """
hs_timestamp|Activity date|datetime|date
hs_body_preview|Body preview|string|text|r
hs_createdate|Create date|datetime|date|r
hs_lastmodifieddate|Last modified date|datetime|date|r
hs_attachment_ids|Attached file IDs|enumeration|checkbox
"""
NOTES = "hs_note_body|Note body|string|html\n"
TASKS = """
hs_task_subject|Task Title|string|text
hs_task_body|Task Notes|string|html
hs_task_status|Task Status|enumeration|select||NOT_STARTED IN_PROGRESS WAITING DEFERRED COMPLETED
hs_task_priority|Priority|enumeration|select||NONE LOW MEDIUM HIGH
hs_task_type|Task Type|enumeration|select||TODO CALL EMAIL LINKED_IN
hs_task_completion_date|Completed at|datetime|date|r
"""
CALLS = """
hs_call_title|Call Title|string|text
hs_call_body|Call notes|string|html
hs_call_duration|Call duration|number|number
hs_call_direction|Call direction|enumeration|select||INBOUND OUTBOUND
hs_call_status|Call status|enumeration|select||QUEUED RINGING IN_PROGRESS COMPLETED CANCELED FAILED BUSY NO_ANSWER MISSED
hs_call_disposition|Call outcome|string|text
hs_call_from_number|From Number|string|text
hs_call_to_number|To Number|string|text
"""
MEETINGS = """
hs_meeting_title|Meeting name|string|text
hs_meeting_body|Attendee description|string|html
hs_meeting_start_time|Meeting start time|datetime|date
hs_meeting_end_time|Meeting end time|datetime|date
hs_meeting_outcome|Meeting outcome|enumeration|select||SCHEDULED COMPLETED RESCHEDULED NO_SHOW CANCELED
hs_meeting_location|Meeting location|string|text
"""
EMAILS = """
hs_email_subject|Email subject|string|text
hs_email_text|Text body|string|textarea
hs_email_html|Email body|string|html
hs_email_direction|Email direction|enumeration|select||EMAIL INCOMING_EMAIL FORWARDED_EMAIL
hs_email_status|Email send status|enumeration|select||BOUNCED FAILED SCHEDULED SENDING SENT
hs_email_headers|Email headers|string|text
"""
CUSTOM_CONTACTS = """
interests|Interests|enumeration|checkbox|p|analytics billing integrations mobile security support
birth_date|Birth date|date|date|p
next_call_at|Next call at|datetime|date|p
notes_text|Notes|string|textarea|p
opted_out|Opted out|bool|booleancheckbox|p|true false
"""
